"""One contender in a process of its own: ``python -m benchmarks.vectors_contenders FOLDER NAME``, JSON on stdout.

Every contender is filled from the same rows, tuned on the same questions to the same recall (0.95) and asked the same
queries. Memory is what the process holds privately after building (``RssAnon``), so the mapped rows do not count.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.vectors_data import BATCH, exact
from indexer.seams import Floats, Ids
from indexer.vectors import FaissIndex, load_index
from indexer.vectors_recall import TARGET, overlap

LINKS = 32
EF_CONSTRUCTION = 80
LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
SHARES = (0.001, 0.01, 0.03, 0.1, 0.5, 0.9)
THREADS = 2


class Contender(Protocol):
    """What is measured: filled from fp16 ``[n, dim]``, asked for positions ``[q, k]``, tuned with a grade in 0 to 1."""

    def build(self, rows: np.ndarray) -> None:
        """Take in all rows."""

    def search(self, queries: Floats, k: int, threads: int) -> Ids:
        """The k nearest, best first."""

    def tune(self, grade: Callable[[], float]) -> str:
        """Find the cheapest setting with enough recall; returns it in words."""


class Ours:
    """``FaissIndex`` of a kind."""

    def __init__(self, kind: str, dim: int, rows: int) -> None:
        self.index = FaissIndex(dim, kind, count=rows, threads=THREADS)

    def build(self, rows: np.ndarray) -> None:  # noqa: D102
        self.index.fill((np.arange(start, min(start + BATCH, len(rows))), block) for start, block in blocks(rows))

    def search(self, queries: Floats, k: int, threads: int) -> Ids:  # noqa: D102
        self.index.threads = threads
        return self.index.search(queries, k)[1]

    def tune(self, grade: Callable[[], float]) -> str:  # noqa: ARG002
        """It did that on build."""
        return (
            f"ef {self.index.ef_search}"
            if self.index.ef_search
            else f"nprobe {self.index.nprobe}"
            if self.index.nprobe
            else ""
        )


class Hnswlib:
    """hnswlib (Malkov & Yashunin), fp32 rows."""

    def __init__(self, dim: int, rows: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", dim)
        self.index.init_index(rows, ef_construction=EF_CONSTRUCTION, M=LINKS)

    def build(self, rows: np.ndarray) -> None:  # noqa: D102
        self.index.set_num_threads(THREADS)
        for _, block in blocks(rows):
            self.index.add_items(block)

    def search(self, queries: Floats, k: int, threads: int) -> Ids:  # noqa: D102
        return self.index.knn_query(queries, k, num_threads=threads)[0].astype(np.int64)

    def tune(self, grade: Callable[[], float]) -> str:  # noqa: D102
        return climb(self.index.set_ef, grade)


class Usearch:
    """usearch, fp16 rows as ours."""

    def __init__(self, dim: int, rows: int) -> None:
        from usearch.index import Index

        self.rows = rows
        self.index = Index(ndim=dim, metric="ip", dtype="f16", connectivity=LINKS, expansion_add=EF_CONSTRUCTION)

    def build(self, rows: np.ndarray) -> None:  # noqa: D102
        for start, block in blocks(rows):
            self.index.add(np.arange(start, start + len(block)), block, threads=THREADS)

    def search(self, queries: Floats, k: int, threads: int) -> Ids:  # noqa: D102
        return self.index.search(queries, k, threads=threads).keys.astype(np.int64).reshape(len(queries), k)

    def tune(self, grade: Callable[[], float]) -> str:  # noqa: D102
        return climb(lambda ef: setattr(self.index, "expansion_search", ef), grade)


class Plain:
    """FAISS's own fp32 flat index: the exact scan that ours is compared with."""

    def __init__(self, dim: int) -> None:
        import faiss

        self.faiss = faiss
        self.index = faiss.IndexFlatIP(dim)

    def build(self, rows: np.ndarray) -> None:  # noqa: D102
        for _, block in blocks(rows):
            self.index.add(block)

    def search(self, queries: Floats, k: int, threads: int) -> Ids:  # noqa: D102
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, k)[1]

    def tune(self, grade: Callable[[], float]) -> str:  # noqa: ARG002, D102
        return ""


def climb(setting: Callable[[int], object], grade: Callable[[], float]) -> str:
    """The least step of the ladder that reaches the target."""
    for step in LADDER:
        setting(step)
        if grade() >= TARGET:
            break
    return f"ef {step}"


def blocks(rows: np.ndarray) -> Iterator[tuple[int, Floats]]:
    """First position and float32 ``[<=20000, dim]``."""
    for start in range(0, len(rows), BATCH):
        yield start, rows[start : start + BATCH].astype(np.float32)


def contender(name: str, dim: int, rows: int) -> Contender:
    if name == "hnswlib":
        return Hnswlib(dim, rows)
    if name == "usearch":
        return Usearch(dim, rows)
    return Plain(dim) if name == "faiss IndexFlatIP (fp32)" else Ours(name, dim, rows)


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Everything about one contender."""
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    asked, truth, tuning, tuning_truth = (
        np.load(folder / f"{part}.npy") for part in ("asked", "asked_truth", "tuning", "tuning_truth")
    )
    it = contender(name, rows.shape[1], len(rows))
    it.search(asked[:1], 1, 1) if isinstance(it, Ours | Plain) else None  # loads what is loaded lazily
    before = private_mb()
    started = time.perf_counter()
    it.build(rows)
    seconds = time.perf_counter() - started
    memory = private_mb() - before
    setting = it.tune(lambda: overlap(tuning_truth, it.search(tuning, 10, THREADS)))
    found = it.search(asked, 10, THREADS)
    half = len(asked) // 2
    one = latencies(it, asked)
    result = {
        "name": name,
        "rows": len(rows),
        "setting": setting,
        "recall_pictures": overlap(truth[:half], found[:half]),
        "recall_texts": overlap(truth[half:], found[half:]),
        "p50_ms": float(np.percentile(one, 50)),
        "p95_ms": float(np.percentile(one, 95)),
        "mean_ms": float(one.mean()),
        "qps_batch": batch_rate(it, asked),
        "build_s": seconds,
        "memory_mb": memory,
    }
    if isinstance(it, Ours):
        result |= ours_only(it.index, rows, asked)
    return result


def latencies(it: Contender, asked: Floats) -> np.ndarray:
    """Milliseconds of single queries on one thread, for at most eight seconds."""
    taken, deadline = [], time.perf_counter() + 8
    for query in np.concatenate([asked[:5], asked]):
        started = time.perf_counter()
        it.search(query[None], 10, 1)
        taken.append(1000 * (time.perf_counter() - started))
        if time.perf_counter() > deadline:
            break
    return np.array(taken[min(5, len(taken) // 2) :])


def batch_rate(it: Contender, asked: Floats) -> float:
    """Queries a second when all are asked at once, on all threads: the best of up to five rounds."""
    best, deadline = 0.0, time.perf_counter() + 8
    for _ in range(5):
        started = time.perf_counter()
        it.search(asked, 10, THREADS)
        best = max(best, len(asked) / (time.perf_counter() - started))
        if time.perf_counter() > deadline:
            break
    return best


def ours_only(index: FaissIndex, rows: np.ndarray, asked: Floats) -> dict[str, Any]:
    """What the others do not do: measured recall, saving, mapping, filters."""
    result: dict[str, Any] = {
        "kind": index.kind,
        "recall_claimed": index.recall_at_10,
        "estimate_mb": index.nbytes / 2**20,
    }
    result["filters"] = [
        filtered(index, rows, asked[::8], share, related) for share in SHARES for related in (False, True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        started = time.perf_counter()
        index.save(path)
        result["save_s"] = time.perf_counter() - started
        started = time.perf_counter()
        mapped = load_index(path, threads=THREADS)
        result["load_ms"] = 1000 * (time.perf_counter() - started)
        held = private_mb()
        mapped.search(asked[:50], 10)
        result["mapped_mb"] = private_mb() - held
    return result


def filtered(index: FaissIndex, rows: np.ndarray, asked: Floats, share: float, related: bool) -> dict[str, Any]:  # noqa: FBT001
    """Recall and milliseconds under a filter of ``share`` of the rows: random ones, or those least like the queries."""
    wanted = int(share * len(rows))
    if related:
        towards = asked.mean(axis=0)
        likeness = np.concatenate([block @ towards for _, block in blocks(rows)])
        only = np.argpartition(likeness, wanted)[:wanted]
    else:
        only = np.random.default_rng(3).permutation(len(rows))[:wanted]
    only.sort()
    table = rows[only] if wanted < 200_000 else None
    index.threads = 1
    index.search(asked[:1], 10, only)
    started = time.perf_counter()
    found = np.concatenate([index.search(query[None], 10, only)[1] for query in asked])
    taken = 1000 * (time.perf_counter() - started) / len(asked)
    truth = only[exact(table, asked, 10)] if table is not None else brute(rows, asked, only)
    return {"share": share, "related": related, "recall": overlap(truth, found), "ms": taken}


def brute(rows: np.ndarray, asked: Floats, only: Ids) -> Ids:
    """Exact neighbours among many rows without copying them."""
    allowed = np.zeros(len(rows), bool)
    allowed[only] = True
    best, places = np.full((len(asked), 10), -np.inf, np.float32), np.full((len(asked), 10), -1)
    for start, block in blocks(rows):
        scores = np.where(allowed[start : start + len(block)], asked @ block.T, -np.inf)
        top = np.argpartition(-scores, 9, axis=1)[:, :10]
        best = np.concatenate([best, np.take_along_axis(scores, top, axis=1)], axis=1)
        places = np.concatenate([places, top + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :10]
        best, places = np.take_along_axis(best, order, axis=1), np.take_along_axis(places, order, axis=1)
    return places


def private_mb() -> float:
    """Memory of this process that no file backs, in MiB, after giving back what is free."""
    gc.collect()
    if sys.platform != "linux":
        import psutil

        return float(psutil.Process().memory_info().rss) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
