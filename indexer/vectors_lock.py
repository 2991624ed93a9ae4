"""A lock for many readers and one writer in which neither starves.

Knows threads and nothing of vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """Readers share, a writer is alone; after each write the readers that waited go first. Not re-entrant."""

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting_readers = 0
        self._waiting_writers = 0
        self._promised = 0  # readers that may pass although a writer waits

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold together with other readers."""
        with self._state:
            self._waiting_readers += 1
            self._state.wait_for(lambda: not self._writing and (self._promised > 0 or self._waiting_writers == 0))
            self._waiting_readers -= 1
            self._promised = max(0, self._promised - 1)
            self._readers += 1
        try:
            yield
        finally:
            with self._state:
                self._readers -= 1
                self._state.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold alone."""
        with self._state:
            self._waiting_writers += 1
            self._state.wait_for(lambda: not self._writing and self._readers == 0 and self._promised == 0)
            self._waiting_writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._state:
                self._writing = False
                self._promised = self._waiting_readers
                self._state.notify_all()
