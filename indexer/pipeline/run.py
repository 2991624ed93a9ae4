"""Indexing one source: the visible loop.

    scan -> compare -> read -> route -> decode -> batch -> embed -> commit

Reading and decoding run ahead of the encoder in threads (Pillow and the file system let the interpreter go), so the
encoder does not wait for the disk. Memory is bounded by the windows, whatever the source's size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from indexer.catalog import Catalog, Encoder, Source
from indexer.chunks import chunks
from indexer.errors import EncoderMismatch
from indexer.images import Limits
from indexer.pipeline.ahead import ahead, in_background
from indexer.pipeline.commit import Committer, embed
from indexer.pipeline.plan import Plan, Survey
from indexer.pipeline.stages import Outcome, prepare, read, route
from indexer.pipeline.tally import Progress, Report, Tally, silent
from indexer.seams import Encoder as EncoderSeam
from indexer.sources.found import Source as Origin

READERS = 8  # threads that wait for disks and servers
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Options:
    """How to index. ``batch`` pictures are embedded and committed together."""

    batch: int = 64
    workers: int = CORES  # threads that decode
    limits: Limits = Limits()
    prune: bool = False  # believe a source that is missing or suddenly empty
    retry: bool = False  # try failures again although nothing changed
    fill: bool = False  # only give vectors of another encoder to unchanged items


def index_source(
    catalog: Catalog,
    source: Source,
    origin: Origin,
    encoder: Encoder,
    load: Callable[[], EncoderSeam],
    options: Options | None = None,
    *,
    stop: threading.Event | None = None,
    report: Report = silent,
) -> Tally:
    """Bring the items of one source in step with what it holds now. The caller holds the writer's lock.

    ``load`` gives the encoder when the first picture needs it. ``stop`` ends the run after the batch in flight.
    """
    options = options or Options()
    stop = stop or threading.Event()
    tally = Tally()
    with catalog.read() as reader:
        before = reader.item_ids(source.id)
        failures_before = set(reader.failure_ids(source.id).tolist())
    stamp = origin.stamp() if origin.exists() else None
    if not origin.exists() and not options.prune:
        tally.notes.append(
            f"{origin.location} is missing; its {len(before):,} items are kept: "
            "bring it back, or remove them with --prune"
        )
        return tally
    if _untouched(source, stamp, catalog, encoder, options):
        tally.seen = tally.unchanged = len(before)
        tally.failing = len(failures_before)
        return tally

    survey = Survey(catalog, source, encoder, stop, _lifted(options, origin), options.fill)
    report(Progress("scan", 0, None))
    plan = survey.plan(origin) if origin.exists() else Plan()
    if stop.is_set():
        tally.interrupted = True
        return tally
    tally.seen, tally.unchanged, tally.failing = plan.seen, plan.unchanged, plan.failing
    leaving = set(plan.gone(before).tolist())
    committer = Committer(catalog, source, encoder, leaving, tally)

    if plan.tasks:
        _work(survey, origin, load, options, report, plan, committer)
    if options.fill or tally.interrupted:
        return tally
    _settle(plan, committer, failures_before, options, len(before))
    with catalog.write() as writer:
        writer.finish_source(source.id, stamp)
    return tally


def _lifted(options: Options, origin: Origin) -> frozenset[str] | None:
    """Reasons of earlier failures that this run's wider limits may have lifted; None for all."""
    if options.retry:
        return None
    usual = Limits()
    lifted = {
        "too-many-pixels": options.limits.max_pixels > usual.max_pixels,
        "too-large": options.limits.max_bytes > usual.max_bytes,
        "forbidden-address": bool(origin.options.get("allow_private")),
    }
    return frozenset(reason for reason, wider in lifted.items() if wider)


def _untouched(source: Source, stamp: tuple[int, int] | None, catalog: Catalog, encoder: Encoder, o: Options) -> bool:
    """Whether a single-file source is the file that was read to its end before, with nothing left to do."""
    if stamp is None or stamp != source.stamp or o.retry or o.limits != Limits():
        return False
    with catalog.read() as reader:
        transient = any(f.transient for f in reader.failures() if f.source_id == source.id)
        return not transient and not reader.count_without_vector(source.id, encoder.id)


def _work(
    survey: Survey,
    origin: Origin,
    load: Callable[[], EncoderSeam],
    options: Options,
    report: Report,
    plan: Plan,
    committer: Committer,
) -> None:
    model = load()
    if model.fingerprint != survey.encoder.fingerprint:
        raise EncoderMismatch(
            f"the library's vectors are of {survey.encoder.spec} ({survey.encoder.fingerprint[:12]}) and the model "
            f"loaded is {model.name} ({model.fingerprint[:12]}); use the library's own, or change it with "
            "`diptych reindex --model`"
        )
    done, second = 0, Plan()
    report(Progress("embed", done, plan.tasks))
    with (
        ThreadPoolExecutor(READERS, "diptych-read") as readers,
        ThreadPoolExecutor(options.workers, "diptych-decode") as decoders,
    ):

        def outcomes() -> Generator[Outcome]:
            tasks = survey.tasks(origin, second)
            loaded = ahead(readers, partial(read, limits=options.limits), tasks, 2 * READERS)
            routed = route(loaded, survey)
            yield from ahead(
                decoders, partial(prepare, encoder=model, limits=options.limits), routed, 2 * options.workers
            )

        with closing(in_background(outcomes(), 2 * options.batch)) as stream:
            for batch in chunks(stream, options.batch):
                committer.commit(batch, embed(batch, model, survey.encoder.dim))
                done += len(batch)
                report(Progress("embed", done, max(done, plan.tasks)))
                if survey.stop.is_set():
                    break
    committer.leaving.difference_update(second.item_ids)  # what came back between the two scans stays
    committer.tally.interrupted = survey.stop.is_set() and done < plan.tasks


def _settle(plan: Plan, committer: Committer, failures_before: set[int], options: Options, before: int) -> None:
    """After a whole scan: take out what has left, and forget failures of things that are no longer there."""
    tally = committer.tally
    protected = tuple(u.locator + b"/" if u.locator else b"" for u in plan.unreadable if u.prefix)
    gone = sorted(committer.leaving)
    if plan.seen == len(plan.unreadable) and before and not options.prune:
        if gone:
            tally.notes.append(
                f"nothing was found where {before:,} items were; they are kept in case a disk is not mounted: "
                "remove them with --prune"
            )
        gone = []
    with committer.catalog.read() as reader:
        if protected and gone:
            held = [i.id for i in reader.items(gone).values() if i.locator.startswith(protected)]
            gone = sorted(set(gone) - set(held))
            if held:
                tally.notes.append(f"{len(held):,} items lie in folders that could not be opened; they are kept")
        unseen = failures_before - set(plan.failure_ids)
        stale = [f.id for f in reader.failures() if f.id in unseen and not f.locator.startswith(protected)]
    committer.remove(gone)
    committer.record_unreadable(plan.unreadable)
    with committer.catalog.write() as writer:
        writer.remove_failures(stale)
