"""Indexing into a library: which sources, which encoder, and the vector index at the end.

Knows the order of things; how one source is worked through is in ``run.py``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from indexer.catalog import Encoder, Source
from indexer.errors import EncoderMismatch, LibraryError, SourceError
from indexer.library import Library
from indexer.pipeline.run import Options, index_source
from indexer.pipeline.tally import Report, Tally, silent
from indexer.seams import Encoder as EncoderSeam
from indexer.sources import reopen_source
from indexer.sources.found import Source as Origin

Load = Callable[[], EncoderSeam]


@dataclass
class Session:
    """One writer at work in a library. ``load`` gives the encoder when it is first needed."""

    library: Library
    load: Load
    options: Options = Options()
    stop: threading.Event | None = None
    report: Report = silent
    started: Callable[[str], None] = lambda _location: None

    def index(self, origins: Sequence[Origin] = ()) -> Tally:
        """Bring these sources (or, without any, all known ones) in step. Raises LibraryLocked, SourceError..."""
        with self.library.writer():
            encoder = self._encoder()
            pairs = [self._register(origin) for origin in origins] if origins else self._known()
            total = Tally()
            try:
                for source, origin in pairs:
                    self.started(origin.location)
                    total.add(self._one(source, origin, encoder))
                    if total.interrupted:
                        break
            finally:
                if total.changes or not self.library.index_path(encoder).exists():
                    self.library.save_index()
        return total

    def check_encoder(self) -> None:
        """Refuse a model that is not the library's own. Raises EncoderMismatch, naming both."""
        active = self.library.active_encoder()
        if active is not None and self.load().fingerprint != active.fingerprint:
            raise EncoderMismatch(
                f"the library was made with {active.spec}, and {self.load().name} was asked for; leave --model out, "
                "or change the library's model with `diptych reindex --model`"
            )

    def _one(self, source: Source, origin: Origin, encoder: Encoder) -> Tally:
        catalog = self.library.catalog
        return index_source(
            catalog, source, origin, encoder, self.load, self.options, stop=self.stop, report=self.report
        )

    def _encoder(self) -> Encoder:
        active = self.library.active_encoder()
        if active is not None:
            return active
        model = self.load()
        with self.library.catalog.write() as writer:
            return writer.add_encoder(describe(model), "active")

    def _known(self) -> list[tuple[Source, Origin]]:
        with self.library.catalog.read() as reader:
            sources = reader.sources()
        if not sources:
            raise SourceError("the library has no sources yet; name a folder or a table: `diptych index FOLDER`")
        return [(source, reopen_source(source.kind, source.location, source.options)) for source in sources]

    def _register(self, origin: Origin) -> tuple[Source, Origin]:
        """The catalogue's row of a source. A folder inside a known one is that one; one around it takes it in."""
        with self.library.catalog.write() as writer:
            folders = [s for s in writer.sources() if s.kind == "folder" and origin.kind == "folder"]
            for known in folders:
                if known.location != origin.location and _inside(origin.location, known.location):
                    return known, reopen_source(known.kind, known.location, known.options)
            before = writer.find_source(origin.kind, origin.location)
            if before is not None:  # what was said about it earlier holds until something else is said
                origin = reopen_source(origin.kind, origin.location, {**before.options, **origin.options})
            source = writer.add_source(origin.kind, origin.location, origin.options)
            for known in folders:
                if known.location != origin.location and _inside(known.location, origin.location):
                    prefix = os.fsencode(os.path.relpath(known.location, origin.location)) + b"/"
                    writer.adopt(known, source, prefix)
        return source, origin

    def reindex(self) -> Tally:
        """Give every item a vector of another encoder beside the live ones, then switch to it in one transaction."""
        library, catalog = self.library, self.library.catalog
        with library.writer():
            model = self.load()
            active = library.active_encoder()
            if active is None:
                raise LibraryError(
                    f"the library at {library.path} is empty; fill it with `diptych index FOLDER --model`"
                )
            if active.fingerprint == model.fingerprint:
                raise EncoderMismatch(f"the library already answers with {active.spec}; name another --model")
            with catalog.write() as writer:
                building = writer.add_encoder(describe(model), "building")
            total = Tally()
            filling = replace(self.options, fill=True, prune=False)
            for source, origin in self._known():
                if source.kind == "embeddings":
                    total.notes.append(f"{source.location} holds vectors without pictures; its items stay behind")
                    continue
                self.started(origin.location)
                total.add(
                    index_source(
                        catalog, source, origin, building, self.load, filling, stop=self.stop, report=self.report
                    )
                )
                if total.interrupted:
                    return total
            with catalog.write() as writer:
                for old in writer.encoders():
                    if old.state == "previous" and old.id != building.id:
                        writer.drop_vectors(old.id)
                        writer.set_encoder_state(old.id, "retired")
                writer.set_encoder_state(active.id, "previous")
                writer.set_encoder_state(building.id, "active")
            library.save_index()
        return total


def rollback(library: Library) -> tuple[Encoder, int]:
    """Answer with the previous encoder again. Returns it, and how many items have no vector of it yet."""
    with library.writer():
        with library.catalog.write() as writer:
            active, previous = writer.encoder_in("active"), writer.encoder_in("previous")
            if active is None or previous is None:
                raise LibraryError(f"the library at {library.path} has no earlier encoder to go back to")
            writer.set_encoder_state(active.id, "previous")
            writer.set_encoder_state(previous.id, "active")
            missing = writer.count_items() - writer.count_vectors(previous.id)
        library.save_index()
    return previous, missing


def remove(library: Library, what: Sequence[str]) -> int:
    """Forget items (``id:123``) and whole sources (their location). Returns how many items went; all or nothing."""
    removed = 0
    with library.writer():
        with library.catalog.write() as writer:
            sources = {source.location: source for source in writer.sources()}
            for name in what:
                source = sources.get(name) or sources.get(os.path.abspath(name))  # noqa: PTH100 - links are kept
                if source is not None:
                    removed += writer.remove_source(source.id)
                    continue
                number = name.removeprefix("id:")
                if not number.isdecimal() or not writer.items([int(number)]):
                    raise LibraryError(
                        f"{name} is neither an item (id:123) nor a source of the library; see `diptych status`"
                    )
                writer.remove_items([int(number)])
                removed += 1
        library.save_index()
    return removed


def describe(model: EncoderSeam) -> dict[str, object]:
    """What the catalogue keeps of an encoder."""
    return {
        "spec": getattr(model, "spec", model.name),
        "fingerprint": model.fingerprint,
        "dim": model.dim,
    }


def _inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
