"""Writing one batch: items, vectors and failures together in one transaction, or not at all."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from indexer.catalog import Catalog, Encoder, Failure, Source, Writer
from indexer.errors import EncoderMismatch, PictureError
from indexer.pipeline.stages import Failed, Outcome, Ready, Same, Touch
from indexer.pipeline.tally import Tally
from indexer.seams import Encoder as EncoderSeam
from indexer.seams import Floats
from indexer.sources.found import Found, Unreadable


class Committer:
    """Takes batches of outcomes to the catalogue.

    ``leaving`` holds ids that the scan did not find: a file that turns up with the bytes of one of them is that
    item, moved.
    """

    def __init__(self, catalog: Catalog, source: Source, encoder: Encoder, leaving: set[int], tally: Tally) -> None:
        self.catalog = catalog
        self.source = source
        self.encoder = encoder
        self.leaving = leaving
        self._by_content: dict[bytes, list[int]] = defaultdict(list)
        with catalog.read() as reader:
            for item in reader.items(sorted(leaving)).values():
                self._by_content[item.content_hash].append(item.id)
        self.tally = tally

    def commit(self, batch: list[Outcome], vectors: Floats) -> None:
        """One transaction. ``vectors`` are those of the ``Ready`` outcomes, ``[ready, dim]``, in order."""
        ready = [o for o in batch if isinstance(o, Ready)]
        with self.catalog.write() as writer:
            for outcome in batch:
                if isinstance(outcome, Failed):
                    self._fail(writer, outcome)
                elif isinstance(outcome, Touch):
                    self._touch(writer, outcome)
            same = [o for o in batch if isinstance(o, Same) and not self._move(writer, o)]
            items = [o.item for o in ready] + [o.item for o in same]
            rows = [*vectors, *(o.vector for o in same)]
            ids = writer.add_items(self.source.id, items)
            if rows:
                writer.put_vectors(self.encoder, ids, np.stack(rows))
            healed = [o.task.found.locator for o in batch if o.task.had_failed and not isinstance(o, Failed)]
            writer.clear_failures(self.source.id, healed)
        self.leaving.difference_update(ids)
        self.tally.embedded += len(ready)
        self.tally.copied += len(same)

    def _fail(self, writer: Writer, outcome: Failed) -> None:
        found, known = outcome.task.found, outcome.task.known
        writer.put_failures(
            self.source.id,
            [as_failure(found.locator, found.path, outcome.error, (found.size, found.mtime_ns, found.ctime_ns))],
        )
        if known is not None and not outcome.error.transient:
            writer.remove_items([known.id])  # what it showed is no longer there
            self.tally.removed += 1
        self.tally.failed += 1

    def _touch(self, writer: Writer, outcome: Touch) -> None:
        known, found = outcome.task.known, outcome.task.found
        assert known is not None  # noqa: S101 - only known items are touched
        values: dict[str, object] = {"size": found.size, "mtime_ns": found.mtime_ns, "path": found.path}
        if known.meta_hash != found.metadata_hash():
            values |= _said(found)
        writer.update_item(known.id, values)
        self.tally.updated += 1

    def _move(self, writer: Writer, outcome: Same) -> bool:
        """Let an item that has left its place, and holds these bytes, be the one found here."""
        mine = self._by_content.get(outcome.item.content_hash)
        if outcome.task.known is not None or not mine:
            return False
        found, item_id = outcome.task.found, mine.pop(0)
        place = {"locator": found.locator, "path": found.path, "size": found.size, "mtime_ns": found.mtime_ns}
        writer.update_item(item_id, place | _said(found))
        self.leaving.discard(item_id)
        self.tally.moved += 1
        return True

    def remove(self, ids: list[int]) -> None:
        """Take items out that are no longer in the source."""
        with self.catalog.write() as writer:
            writer.remove_items(ids)
        self.tally.removed += len(ids)

    def record_unreadable(self, unreadable: list[Unreadable]) -> None:
        """Record what the scan could not look at; what is on record already is left as it is."""
        with self.catalog.write() as writer:
            known = writer.known_failures(self.source.id, [u.locator for u in unreadable])
            fresh = [u for u in unreadable if u.locator not in known or known[u.locator].reason != u.error.reason]
            rows = [as_failure(u.locator, u.path, u.error, (-1, 0, 0)) for u in fresh]
            writer.put_failures(self.source.id, rows)
        self.tally.failed += len(fresh)
        self.tally.failing += len(unreadable) - len(fresh)


def _said(found: Found) -> dict[str, object]:
    """What a source says about a picture, as columns."""
    told = {"metadata": dict(found.metadata), "text": found.text, "product": found.product}
    return {**told, "meta_hash": found.metadata_hash()}


def as_failure(locator: bytes, path: str, error: PictureError, stat: tuple[int, int, int]) -> Failure:
    """A picture's error as the catalogue keeps it; ``stat`` is (size, mtime_ns, ctime_ns)."""
    return Failure(0, 0, locator, path, *stat, error.reason, error.message, error.remedy, error.transient)


def embed(batch: list[Outcome], load: EncoderSeam, dim: int) -> Floats:
    """Vectors of the ``Ready`` outcomes, ``[ready, dim]``: from the encoder, or as they came."""
    ready = [o for o in batch if isinstance(o, Ready)]
    vectors = np.empty((len(ready), dim), np.float32)
    places = [i for i, o in enumerate(ready) if o.pixels is not None]
    if places:
        pixels = np.stack([p for o in ready if (p := o.pixels) is not None])
        vectors[places] = load.encode_pixels(pixels)
    for i, outcome in enumerate(ready):
        if outcome.vector is None:
            continue
        if outcome.vector.shape != (dim,):
            raise EncoderMismatch(
                f"the vectors of {outcome.item.path} have {outcome.vector.size} numbers and the library's model makes "
                f"{dim}; index them into a library made with their own --model"
            )
        vectors[i] = outcome.vector
    return vectors
