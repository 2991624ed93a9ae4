"""Working ahead: pools and threads behind plain generators, with bounded memory.

Order is kept, an early end of the consumer stops the work, and an exception reaches the consumer.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(pool: Executor, work: Callable[[A], B], stream: Iterable[A], window: int) -> Iterator[B]:
    """Map ``work`` over ``stream`` in a pool, in order, with at most ``window`` results waiting."""
    waiting: deque[Future[B]] = deque()
    try:
        for element in stream:
            waiting.append(pool.submit(work, element))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(stream: Generator[A], depth: int) -> Generator[A]:
    """Run a generator in a thread of its own, at most ``depth`` elements ahead of the consumer."""
    shelf: queue.Queue[A | _End] = queue.Queue(maxsize=depth)
    enough = threading.Event()

    def put(element: A | _End) -> None:
        while not enough.is_set():
            try:
                shelf.put(element, timeout=0.1)
                return
            except queue.Full:
                continue

    def fill() -> None:
        error: BaseException | None = None
        try:
            with closing(stream):
                for element in stream:
                    put(element)
                    if enough.is_set():
                        return
        except BaseException as raised:  # noqa: BLE001 - it is raised again in the consumer's thread
            error = raised
        put(_End(error))

    thread = threading.Thread(target=fill, name="diptych-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(element := shelf.get(), _End):
            yield element
        if element.error is not None:
            raise element.error
    finally:
        enough.set()
        thread.join()
