"""Searching only among some items finds what brute force finds among them."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.seams import Floats, Ids
from indexer.vectors import FaissIndex
from indexer.vectors_rows import Rows
from tests.indexer.vectors_world import KINDS, built, pictures, recall, truth


@pytest.fixture(scope="module", params=KINDS)
def large(request: pytest.FixtureRequest) -> tuple[FaissIndex, Ids, Floats]:
    """Large enough for the index itself to be asked although few rows remain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.vectors_search._SCAN_ROWS", 0)
        return built(request.param, 6000)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("related", [False, True])
def test_a_filter_keeps_the_recall(
    large: tuple[FaissIndex, Ids, Floats], share: float, related: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the filter is a cluster of its own, far from the question: a graph alone would never get there."""
    monkeypatch.setattr("indexer.vectors_search._SCAN_ROWS", 0)
    index, ids, rows = large
    queries = pictures(30, seed=5)
    wanted = max(1, int(share * len(ids)))
    order = np.argsort(rows @ queries.mean(axis=0)) if related else np.random.default_rng(2).permutation(len(ids))
    chosen = order[:wanted]
    _, expected = truth(ids[chosen], rows[chosen]).search(queries, 10)
    _, found = index.search(queries, 10, only=ids[chosen])
    assert np.isin(found[found >= 0], ids[chosen]).all()
    assert (found >= 0).sum() == (expected >= 0).sum()
    assert recall(expected, found) >= (0.999 if index.kind == "flat" else 0.9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_may_name_unknown_dead_and_repeated_ids(kind: str) -> None:
    index, ids, rows = built(kind)
    index.remove(ids[:10])
    only = np.concatenate([ids[:20], ids[:20], [10**15, 0]])
    found = index.search(rows[:3], 15, only=only)[1]
    assert set(found[0]) == {*ids[10:20], -1}
    assert (index.search(rows[:3], 5, only=np.empty(0, np.int64))[1] == -1).all()
    assert (index.search(rows[:3], 5, only=ids)[1] == index.search(rows[:3], 5)[1]).all()


@pytest.mark.parametrize("spread", [3, 1000])
def test_a_filter_of_many_ids_names_the_same_rows_however_it_is_looked_up(spread: int) -> None:
    ids = np.random.default_rng(0).permutation(100_000) * spread
    rows = Rows(ids)
    assert (rows.among(ids[::2]) == np.arange(0, 100_000, 2)).all()
    rows.kill(np.arange(1000))
    rows.append(np.arange(10) + 10**9)
    only = np.concatenate([ids[::-2], ids[:5000], [-1, 10**9 + 3, 10**12]])
    expected = np.union1d(np.arange(1, 100_000, 2), np.arange(5000))
    assert rows.among(only).tolist() == [*expected[expected >= 1000], 100_003]
    assert rows.among(ids[[5000, 4000, 5000, 10]]).tolist() == [4000, 5000]
    assert rows.live == 100_000 - 1000 + 10
