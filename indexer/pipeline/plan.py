"""Deciding what a source needs: which of its files are new or changed, and which items have left.

Nothing is read here but the scan (one ``stat`` a file) and the catalogue, in chunks, so memory stays flat: a plan
keeps 8 bytes an item. A source is scanned once to plan and, if there is work, a second time to do it; that is
cheaper than remembering what a large scan found, and it gives the progress bar its total.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from indexer.catalog import Catalog, Encoder, Failure, Known, Reader, Source
from indexer.chunks import chunks
from indexer.seams import Ids
from indexer.sources.found import Found, Unreadable
from indexer.sources.found import Source as Origin

CHUNK = 1_000
NO_FAILURES: dict[bytes, Failure] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do: read a found file, or only note its new metadata (``known`` and no ``read``)."""

    found: Found
    known: Known | None
    read: bool
    had_failed: bool


@dataclass
class Plan:
    """What a scan of a source came to."""

    tasks: int = 0
    seen: int = 0
    unchanged: int = 0
    failing: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    item_ids: array[int] = field(default_factory=lambda: array("q"))
    failure_ids: array[int] = field(default_factory=lambda: array("q"))

    def gone(self, before: Ids) -> Ids:
        """Those of the items known before that the scan did not find."""
        return np.setdiff1d(before, np.array(self.item_ids, np.int64))


@dataclass(frozen=True)
class Survey:
    """Compares what a source holds with what the catalogue knows of it."""

    catalog: Catalog
    source: Source
    encoder: Encoder
    stop: threading.Event  # ends a scan early; the plan is then not whole
    retry: frozenset[str] | None = frozenset()  # reasons of failures to try again although nothing changed; None: all
    fill: bool = False  # only give vectors to unchanged items that lack one (another encoder)

    def plan(self, origin: Origin) -> Plan:
        """Scan once, to count and to see what has left."""
        plan = Plan()
        for _ in self.tasks(origin, plan):
            plan.tasks += 1
        return plan

    def tasks(self, origin: Origin, plan: Plan) -> Iterator[Task]:
        """Scan, and yield what there is to do; the plan keeps the counts."""
        with self.catalog.read() as reader:
            any_failures = bool(len(reader.failure_ids(self.source.id)))
        for chunk in chunks(origin.scan(), CHUNK):
            if self.stop.is_set():
                return
            found = [f for f in chunk if isinstance(f, Found)]
            plan.seen += len(chunk)
            plan.unreadable.extend(f for f in chunk if isinstance(f, Unreadable))
            with self.catalog.read() as reader:
                known = self._known(reader, origin, [f.locator for f in found])
                failures = (
                    reader.known_failures(self.source.id, [f.locator for f in chunk]) if any_failures else NO_FAILURES
                )
            plan.failure_ids.extend(failure.id for failure in failures.values())
            for f in found:
                row = known.get(f.locator)
                if row is not None:
                    plan.item_ids.append(row.id)
                task = self._judge(f, row, failures.get(f.locator), plan)
                if task is not None:
                    yield task

    def _known(self, reader: Reader, origin: Origin, locators: list[bytes]) -> dict[bytes, Known]:
        if origin.kind == "folder" and locators:  # scanned in the order of locators
            return reader.known_between(self.source.id, self.encoder.id, locators[0], locators[-1])
        return reader.known(self.source.id, self.encoder.id, locators)

    def _again(self, failure: Failure) -> bool:
        return self.retry is None or failure.reason in self.retry

    def _judge(self, found: Found, known: Known | None, failure: Failure | None, plan: Plan) -> Task | None:
        if failure is not None and not self._again(failure) and _same_failure(found, failure):
            plan.failing += 1
            return None
        if known is None:
            return None if self.fill else Task(found, None, read=True, had_failed=failure is not None)
        same = known.size == found.size and known.mtime_ns == found.mtime_ns
        if same and known.has_vector and known.meta_hash == found.metadata_hash() and failure is None:
            plan.unchanged += 1
            return None
        if self.fill:
            return Task(found, known, read=True, had_failed=False) if same and not known.has_vector else None
        return Task(found, known, read=not (same and known.has_vector), had_failed=failure is not None)


def _same_failure(found: Found, failure: Failure) -> bool:
    if failure.transient:
        return False
    return (found.size, found.mtime_ns, found.ctime_ns) == (failure.size, failure.mtime_ns, failure.ctime_ns)
