"""How a question is answered: exactly or through the index, and how hard the index must try.

Knows the engine and the positions; holds no state and no lock.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np

from indexer.seams import Floats, Ids
from indexer.vectors_faiss import Engine
from indexer.vectors_rows import Rows

_ROWS_PER_STEP = 80  # one more candidate of efSearch costs what scanning this many rows does (benchmarks/vectors.py)
_SCAN_ROWS = 20_000  # a filter that leaves no more is answered by a scan: a millisecond or two, and no luck needed


def answer(engine: Engine, rows: Rows, queries: Floats, k: int, only: Ids | None) -> tuple[Floats, Ids]:
    """Scores and item ids ``[q, k]``, best first, padded with -inf and -1."""
    scores = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    chosen = None if only is None else _positions(rows, only)
    wanted = min(k, rows.live if chosen is None else len(chosen))
    if wanted and len(queries):
        found, places = _neighbours(engine, rows, queries, wanted, chosen)
        there = places >= 0
        scores[:, :wanted] = np.where(there, found, -np.inf)
        ids[:, :wanted] = np.where(there, rows.ids[places], -1)
    return scores, ids


def _positions(rows: Rows, only: Ids) -> Ids | None:
    """Live positions of the item ids, ascending; None when that is all of them."""
    places = rows.among(only)
    return None if len(places) == rows.live else places


def _neighbours(engine: Engine, rows: Rows, queries: Floats, k: int, chosen: Ids | None) -> tuple[Floats, Ids]:
    count = rows.live if chosen is None else len(chosen)
    wanted = min(fetch_size(k, count / rows.total), rows.total)
    effort = effort_for(engine, wanted)
    floor = 0 if chosen is None else _SCAN_ROWS
    if engine.exact or count <= max(floor, rows_visited(engine, effort)):
        return engine.scan(queries, k, _allowed(rows, chosen))
    scores, places = engine.near(queries, wanted, effort)
    if chosen is None and not rows.dead:
        return scores, places
    return _kept(engine, rows, queries, k, chosen, scores, places)


def _allowed(rows: Rows, chosen: Ids | None) -> Ids | None:
    """Positions that may answer, ascending; None when all may."""
    if chosen is None and rows.dead:
        return np.flatnonzero(rows.ids >= 0)
    return chosen


def fetch_size(k: int, share: float) -> int:
    """Candidates among which k of a random ``share`` (0 to 1) of the rows are found with three sigma."""
    return k if share >= 1 else ceil((k + 3 * sqrt(k * (1 - share)) + 1) / share)


def effort_for(engine: Engine, wanted: int) -> int:
    """``efSearch`` or ``nprobe`` to find ``wanted`` candidates; the tuned one was measured for 10."""
    if engine.kind.family == "hnsw":
        return engine.effort + wanted
    return int(engine.effort * max(1.0, wanted / 10) ** 0.5)


def rows_visited(engine: Engine, effort: int) -> int:
    """Rows that cost as much when scanned in order as what the index looks at with ``effort``."""
    if engine.kind.family == "hnsw":
        return effort * _ROWS_PER_STEP
    return min(effort, engine.kind.lists) * engine.count // engine.kind.lists


def _kept(
    engine: Engine, rows: Rows, queries: Floats, k: int, chosen: Ids | None, scores: Floats, places: Ids
) -> tuple[Floats, Ids]:
    """The k best that may answer, of more than k candidates; exactly, for queries where that leaves too few.

    FAISS could be given the filter instead, but then a graph or cell search returns k rows however far it had to go for
    them: asked for tables next to a chair it returns the tables on the way, not the nearest ones.
    """
    if chosen is None:
        mask = rows.ids[places] >= 0
    else:
        mask = chosen[np.minimum(np.searchsorted(chosen, places), len(chosen) - 1)] == places
    mask &= places >= 0
    order = np.argsort(~mask, axis=1, kind="stable")[:, :k]
    scores, places = np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)
    few = np.flatnonzero(mask.sum(axis=1) < k)
    if len(few):
        scores[few], places[few] = engine.scan(queries[few], k, _allowed(rows, chosen))
    return scores, places
