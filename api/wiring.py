"""Putting the rooms together for a door: an opened library, its encoder, a session of indexing.

Heavy libraries are loaded when they are first needed, and the encoder at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.library import Library

if TYPE_CHECKING:
    from indexer.encoder import OpenClipEncoder


@dataclass
class Wiring:
    """One library and the encoder that goes with it."""

    library: Library
    model: str | None = None  # asked for by the user; None: the library's own, or ``auto`` for a new one
    device: str | None = None
    precision: str | None = None
    letterbox: bool | None = None
    say: Callable[[str], None] = lambda _sentence: None

    @cached_property
    def encoder(self) -> OpenClipEncoder:
        """The model asked for, else the library's own, else ``auto``. Raises EncoderError."""
        from indexer.encoder import load_encoder

        active = self.library.active_encoder()
        letterbox = self.letterbox
        if self.model is None and active is not None:
            letterbox = bool(active.options.get("letterbox")) or None
        name = self.model or (active.spec if active else "auto")
        encoder = load_encoder(name, device=self.device, precision=self.precision, letterbox=letterbox)
        if active is None or self.model is not None:
            self.say(encoder.note)
        return encoder


def open_library(path: Path, *, create: bool = False) -> Library:
    """The library at ``path``. Raises LibraryError, CatalogError."""
    return Library.open(path, create=create)


def fetcher(*, allow_private: bool) -> Callable[[str], bytes]:
    """A function that gets the bytes of a picture by its URL, within the limits of ``indexer.sources.urls``."""

    def fetch(url: str) -> bytes:
        from indexer.sources.urls import Fetcher

        client = Fetcher(allow_private=allow_private)
        try:
            return client.fetch(url)
        finally:
            client.close()

    return fetch
