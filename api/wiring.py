"""Putting the rooms together for a door: an opened library, its encoder, a session of indexing.

Heavy libraries are loaded when they are first needed, and the encoder at most once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.library import Library

if TYPE_CHECKING:
    from indexer.encoder import OpenClipEncoder
    from indexer.sources.urls import Fetcher

DOWNLOAD_EVERY_S = 5.0  # between two lines about a download


@dataclass
class Wiring:
    """One library and the encoder that goes with it."""

    library: Library
    model: str | None = None  # asked for by the user; None: the library's own, or ``auto`` for a new one
    device: str | None = None
    precision: str | None = None
    letterbox: bool | None = None
    say: Callable[[str], None] = lambda _sentence: None
    _told_at: float = 0.0

    @cached_property
    def encoder(self) -> OpenClipEncoder:
        """The model asked for, else the library's own, else ``auto``. Raises EncoderError."""
        from indexer.encoder import load_encoder

        active = self.library.active_encoder()
        name = self.model or (active.spec if active else "auto")
        encoder = load_encoder(
            name, device=self.device, precision=self.precision, letterbox=self.letterbox, progress=self._fetching
        )
        if active is None or self.model is not None:
            self.say(encoder.note)
        return encoder

    def _fetching(self, file: str, done: int, total: int) -> None:
        """Say now and then how far a download has come."""
        now = time.monotonic()
        if total and now - self._told_at >= DOWNLOAD_EVERY_S:
            self._told_at = now
            self.say(f"Fetching {file or 'the model'}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")


def open_library(path: Path, *, create: bool = False) -> Library:
    """The library at ``path``. Raises LibraryError, CatalogError."""
    return Library.open(path, create=create)


def fetcher(*, allow_private: bool) -> Callable[[str], bytes]:
    """A function that gets the bytes of a picture by its URL, within the limits of ``indexer.sources.urls``."""
    made: list[Fetcher] = []

    def fetch(url: str) -> bytes:
        from indexer.sources.urls import Fetcher

        if not made:
            made.append(Fetcher(allow_private=allow_private))
        return made[0].fetch(url)

    return fetch
