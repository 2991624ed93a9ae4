"""How much of the exact answer an index finds, and how hard it must try to find 95 %.

Knows the engine; asks it both ways.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.seams import Floats, Ids
from indexer.vectors_faiss import Engine
from indexer.vectors_rows import Rows

TARGET = 0.95
_K = 10
_PLATEAU = 0.005  # more effort for less than this is not worth it: the codes are the limit, not the cells
_LADDER = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, slots=True)
class Exam:
    """Questions with their exact answers: queries ``[q, dim]`` and positions ``[q, 10]``, dead ones included."""

    queries: Floats
    truth: Ids

    @classmethod
    def of(cls, engine: Engine, rows: Rows, *, sample: int, seed: int) -> Exam:
        """Draw ``sample`` questions that resemble what will be asked."""
        live = np.flatnonzero(rows.ids >= 0)
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(live, min(sample, len(live)), replace=False))
        queries = questions(engine.rows(chosen), rng)
        return cls(queries, engine.scan(queries, min(_K, engine.count))[1])


def questions(rows: Floats, rng: np.random.Generator) -> Floats:
    """Stored rows ``[n, dim]``, moved so that the row itself is not the trivial answer; unit rows of the same shape.

    Every other one moves a little (cosine 0.9: a similar picture), the rest far (cosine 0.4: a text, which in a dual
    encoder lies beside the pictures rather than among them and is the harder case for a graph).
    """
    noise = rng.standard_normal(rows.shape).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosine = np.where(np.arange(len(rows)) % 2, 0.9, 0.4).astype(np.float32)[:, None]
    moved = cosine * rows + np.sqrt(1 - cosine**2) * noise
    unit: Floats = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def overlap(truth: Ids, found: Ids) -> float:
    """Share of ``truth`` ``[q, k]`` that is in the same row of ``found``: recall at k, 0 to 1."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True))
    return hits / truth.size if truth.size else 1.0


def grade(engine: Engine, exam: Exam, effort: int) -> float:
    """Recall at 10 with ``effort``."""
    k = exam.truth.shape[1]
    return overlap(exam.truth, engine.near(exam.queries, k, effort)[1])


def tune(engine: Engine, exam: Exam) -> float:
    """Set ``engine.effort`` to the least that reaches 0.95 or, failing that, nearly the best; returns the recall."""
    most = engine.kind.lists if engine.kind.family == "ivf" else _LADDER[-1]
    tried: list[tuple[float, int]] = []
    for effort in [step for step in _LADDER if step < most] + [most]:
        tried.append((grade(engine, exam, effort), effort))
        if tried[-1][0] >= TARGET:
            break
    enough = min(TARGET, max(tried)[0] - _PLATEAU)
    recall, engine.effort = next(pair for pair in tried if pair[0] >= enough)  # set once, as others may be searching
    return recall
