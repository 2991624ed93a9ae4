"""Reconciling disk, catalogue and vector index: what is wrong, and what would mend it.

SQLite is the truth, so most faults are mended by deleting what is derived or damaged and indexing again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from indexer.catalog import Encoder, Reader
from indexer.errors import IndexerError, PictureError, VectorIndexError
from indexer.images import Limits, content_hash
from indexer.library import Library
from indexer.pipeline.plan import Survey
from indexer.seams import Encoder as EncoderSeam
from indexer.seams import Ids
from indexer.sources import reopen_source
from indexer.sources.found import Found

UNIT = 0.01  # how far a stored vector's length may be from 1; fp16 rounding moves it by 0.0005
SAMPLE = 256
NEAR_ITSELF = 0.9  # cosine of a stored vector to what a quantised index holds of it


@dataclass(frozen=True)
class Finding:
    """One fault (or, with ``note``, something worth knowing). ``mend`` repairs what can be repaired by itself."""

    code: str
    message: str
    remedy: str
    count: int = 1
    note: bool = False
    mend: Callable[[], None] | None = None


def examine(library: Library, load: Callable[[], EncoderSeam] | None = None, *, hashes: bool = False) -> list[Finding]:
    """Everything that does not fit together. ``load`` also checks the model; ``hashes`` reads every picture again."""
    findings = list(_database(library))
    encoder = library.active_encoder()
    if encoder is None:
        return findings
    if load is not None:
        findings += _model(encoder, load)
    findings += _vectors(library)
    findings += _index(library, encoder)
    findings += _sources(library, encoder, hashes=hashes)
    return findings


def repair(findings: list[Finding]) -> int:
    """Mend what can be mended; the caller holds the writer's lock. Returns how many findings were."""
    todo = [finding.mend for finding in findings if finding.mend is not None]
    for mend in todo:
        mend()
    return len(todo)


def _database(library: Library) -> Iterator[Finding]:
    with library.catalog.read() as reader:
        for sentence in reader.integrity():
            yield Finding("database", f"the database is damaged: {sentence}", "restore it from an export or a copy")
        active = [e for e in reader.encoders() if e.state == "active"]
        if len(active) > 1:
            names = ", ".join(e.spec for e in active)
            yield Finding("encoders", f"{len(active)} encoders are active ({names})", "restore the library from a copy")


def _model(encoder: Encoder, load: Callable[[], EncoderSeam]) -> Iterator[Finding]:
    try:
        model = load()
    except IndexerError as error:
        yield Finding("encoder", f"the library's model cannot be loaded: {error}", "get the model back, or reindex")
        return
    if model.fingerprint != encoder.fingerprint:
        yield Finding(
            "encoder-mismatch",
            f"{encoder.spec} is no longer the model that made the vectors "
            f"({model.fingerprint[:12]} now, {encoder.fingerprint[:12]} then)",
            "put the old weights back, or embed again with `diptych reindex --model`",
        )


def _vectors(library: Library) -> Iterator[Finding]:
    for encoder in _encoders(library):
        with library.catalog.read() as reader:
            bad = [*_unsound(reader, encoder)]
            orphans = reader.orphan_vectors(encoder.id)
            missing = reader.count_items() - reader.count_vectors(encoder.id) + len(orphans)
        drop = _dropper(library, encoder)
        if len(orphans):
            text = f"{len(orphans):,} vectors of {encoder.spec} belong to no item"
            yield Finding("orphans", text, "they are deleted", len(orphans), mend=drop(orphans))
        if bad:
            text = f"{len(bad):,} vectors of {encoder.spec} are not finite, not of unit length or of another size"
            yield Finding(
                "vectors",
                text,
                "they are deleted and made again by `diptych index`",
                len(bad),
                mend=drop(np.array(bad, np.int64)),
            )
        if missing and encoder.state == "active":
            text = f"{missing:,} items have no vector of {encoder.spec}"
            yield Finding("missing-vectors", text, "`diptych index` makes them", missing)


def _encoders(library: Library) -> list[Encoder]:
    with library.catalog.read() as reader:
        return [e for e in reader.encoders() if e.state != "retired"]


def _unsound(reader: Reader, encoder: Encoder) -> Iterator[int]:
    for ids, lengths in reader.vector_lengths(encoder):
        with np.errstate(invalid="ignore"):
            yield from ids[~(np.abs(lengths - 1) <= UNIT)].tolist()


def _dropper(library: Library, encoder: Encoder) -> Callable[[Ids], Callable[[], None]]:
    def drop(ids: Ids) -> Callable[[], None]:
        def mend() -> None:
            with library.catalog.write() as writer:
                writer.drop_vectors(encoder.id, ids)

        return mend

    return drop


def _index(library: Library, encoder: Encoder) -> Iterator[Finding]:
    from indexer.vectors import load_index

    path = library.index_path(encoder)

    def rebuild() -> None:
        library.forget_index(encoder)
        library.save_index()

    if not path.exists():
        yield Finding("index-missing", "the vector index has no file", "it is built from the database", mend=rebuild)
        return
    try:
        load_index(path, verify=True)
    except VectorIndexError as error:
        yield Finding("index-damaged", str(error), "it is built again from the database", mend=rebuild)
        return
    index = library.index()
    with library.catalog.read() as reader:
        stored = reader.sound_vector_ids(encoder)
        lost, extra = np.setdiff1d(stored, index.ids), np.setdiff1d(index.ids, stored)
        sample = np.random.default_rng(0).choice(stored, min(SAMPLE, len(stored)), replace=False)
        _, vectors = reader.vectors(encoder, sample.tolist())
    if len(lost) or len(extra):
        text = f"the vector index lacks {len(lost):,} items and holds {len(extra):,} that are gone"
        yield Finding("index-ids", text, "it is built again from the database", len(lost) + len(extra), mend=rebuild)
    elif len(vectors) and float(np.median(index.search(vectors, 1)[0])) < NEAR_ITSELF:
        yield Finding(
            "index-vectors",
            "the vector index holds other vectors than the database",
            "it is built again from the database",
            mend=rebuild,
        )


def _sources(library: Library, encoder: Encoder, *, hashes: bool) -> Iterator[Finding]:
    with library.catalog.read() as reader:
        sources = reader.sources()
    for source in sources:
        origin = reopen_source(source.kind, source.location, source.options)
        if not origin.exists():
            yield Finding(
                "source-missing",
                f"{source.location} cannot be reached",
                "bring it back, or remove its items with `diptych index --prune`",
                note=True,
            )
            continue
        with library.catalog.read() as reader:
            before = reader.item_ids(source.id)
        survey = Survey(library.catalog, source, encoder, threading.Event())
        plan = survey.plan(origin)
        gone = len(plan.gone(before))
        if plan.tasks or gone:
            text = f"{source.location}: {plan.tasks:,} pictures are new or changed and {gone:,} are gone"
            yield Finding("out-of-step", text, "`diptych index` brings them in step", plan.tasks + gone, note=True)
        if hashes:
            yield from _stale(library, survey)


def _stale(library: Library, survey: Survey) -> Iterator[Finding]:
    """Files whose bytes changed although size and time stamp did not."""
    stale: list[int] = []
    origin = reopen_source(survey.source.kind, survey.source.location, survey.source.options)
    for found in origin.scan():
        if not isinstance(found, Found) or found.read is None:
            continue
        with library.catalog.read() as reader:
            known = reader.known(survey.source.id, survey.encoder.id, [found.locator]).get(found.locator)
        if known is None or (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
            continue
        try:
            if content_hash(found.read(Limits())) != known.content_hash:
                stale.append(known.id)
        except PictureError:
            continue

    def mend() -> None:
        with library.catalog.write() as writer:
            for item_id in stale:
                writer.update_item(item_id, {"mtime_ns": -1})  # the next run looks at it again

    if stale:
        yield Finding(
            "stale",
            f"{len(stale):,} pictures changed without a new time stamp",
            "they are read again",
            len(stale),
            mend=mend,
        )
