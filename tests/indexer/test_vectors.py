"""The vector index of every kind gives the answers of brute force, before and after any change."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.errors import VectorIndexError
from indexer.seams import Floats
from indexer.vectors import FaissIndex, choose_kind, parse_kind
from indexer.vectors_recall import Exam, tune
from tests.indexer.vectors_world import DIM, KINDS, built, pictures, recall, truth


@pytest.mark.parametrize("spec", ["flat", "hnsw32", "hnsw8", "ivf4096,sq8", "ivf256,pq16"])
def test_a_kind_is_spelt_as_it_is_read(spec: str) -> None:
    assert str(parse_kind(spec, dim=64)) == spec


def test_a_kind_may_be_left_open() -> None:
    assert str(parse_kind("ivf", dim=64, count=1_000_000)) == "ivf4096,sq8"
    assert str(parse_kind("ivf64", dim=64)) == "ivf64,sq8"
    assert str(parse_kind("HNSW", dim=64)) == "hnsw32"
    assert str(parse_kind("auto", dim=512, count=1000)) == "flat"


@pytest.mark.parametrize("spec", ["", "annoy", "hnsw1", "hnsw999", "ivf0,sq8", "ivf16,pq7", "ivf16,sq4", "flat,sq8"])
def test_an_unknown_kind_is_told_what_is_allowed(spec: str) -> None:
    with pytest.raises(VectorIndexError, match=r"no vector index of kind .* allowed are auto, flat, hnsw"):
        FaissIndex(DIM, spec)


def test_the_kind_follows_the_size() -> None:
    families = [choose_kind(count, 512)[:3] for count in (0, 1000, 10_000, 300_000, 1_000_000, 20_000_000)]
    assert families[:3] == ["fla", "fla", "fla"]
    assert families[3:] == ["hns", "ivf", "ivf"]


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_brute_force(kind: str) -> None:
    index, ids, rows = built(kind)
    expected = truth(ids, rows).search(pictures(50, seed=9), 10)
    scores, found = index.search(pictures(50, seed=9), 10)
    assert index.kind == kind
    assert scores.dtype == np.float32
    assert found.dtype == np.int64
    assert recall(expected[1], found) >= (1.0 if kind == "flat" else 0.9)
    np.testing.assert_allclose(scores[:, 0], expected[0][:, 0], atol=1e-2)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_recall_is_measured_and_the_effort_tuned_on_build(kind: str) -> None:
    index, _, _ = built(kind)
    assert index.recall_at_10 is not None
    assert index.recall_at_10 >= 0.95
    assert (index.ef_search is not None) == kind.startswith("hnsw")
    assert (index.nprobe is not None) == kind.startswith("ivf")
    assert abs(index.measure_recall(sample=300, seed=5) - index.recall_at_10) < 0.1


def test_less_effort_finds_less() -> None:
    index, _, _ = built("ivf16,sq8")
    index.nprobe = 16
    most = index.measure_recall()
    index.nprobe = 1
    assert index.measure_recall() < most
    assert index.recall_at_10 == index.measure_recall()
    with pytest.raises(
        VectorIndexError, match="ef_search = 10 does not fit an index of kind ivf16,sq8; it is for hnsw"
    ):
        index.ef_search = 10


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_answers_with_nothing(kind: str) -> None:
    index = FaissIndex(DIM, kind)
    scores, ids = index.search(pictures(2), 3)
    assert (ids == -1).all()
    assert (scores == -np.inf).all()
    assert index.measure_recall() == 1.0
    assert index.remove(np.array([5])) == 0
    index.compact()
    assert index.search(np.empty((0, DIM), np.float32), 3)[1].shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_more_neighbours_than_rows_are_padded(kind: str) -> None:
    index = FaissIndex(DIM, kind)
    index.add(np.array([7, 3]), pictures(2))
    scores, ids = index.search(pictures(2), 5)
    assert ids.tolist() == [[7, 3, -1, -1, -1], [3, 7, -1, -1, -1]]
    assert (scores[:, 2:] == -np.inf).all()
    index, ids, _ = built(kind, 700)
    assert sorted(index.search(pictures(1), 900)[1][0])[200:] == sorted(ids)


def test_an_ivf_index_scans_until_it_has_rows_for_its_cells() -> None:
    rows = pictures(1000)
    index = FaissIndex(DIM, "ivf16,sq8", threads=1)
    for start in range(0, 1000, 100):
        index.add(np.arange(start, start + 100), rows[start : start + 100])
        assert_same_top(index, rows[: start + 100])
    assert index.recall_at_10 is not None  # it was trained on the way, at 16 * 39 rows


def assert_same_top(index: FaissIndex, rows: Floats) -> None:
    _, ids = index.search(rows, 1)
    assert (ids[:, 0] == np.arange(len(rows))).mean() > 0.95


@pytest.mark.parametrize("kind", ["flat", "hnsw8", "ivf16,sq8"])
def test_the_same_seed_builds_the_same_index(kind: str) -> None:
    queries = pictures(20, seed=3)
    first, second = (built(kind)[0].search(queries, 10) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_replaced(kind: str) -> None:
    index, ids, rows = built(kind)
    index.add(ids[:5], -rows[:5])
    assert len(index) == 2000
    scores, found = index.search(-rows[:5], 1)
    assert found[:, 0].tolist() == ids[:5].tolist()
    np.testing.assert_allclose(scores, 1, atol=1e-2)
    assert not set(index.search(rows[:5], 50)[1].ravel()) & set(ids[:5])


def test_of_an_id_given_twice_the_last_row_counts() -> None:
    rows = pictures(3)
    index = FaissIndex(DIM)
    index.add(np.array([4, 4, 9]), rows)
    assert len(index) == 2
    assert index.search(rows[1:2], 1)[1].item() == 4
    assert index.search(rows[1:2], 1)[0].item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_removed_rows_are_never_found(kind: str) -> None:
    index, ids, rows = built(kind)
    gone = ids[:1000]
    assert index.remove(np.concatenate([gone, gone, [10**12]])) == 1000
    assert index.remove(gone) == 0
    assert len(index) == 1000
    found = index.search(rows[:100], 10)[1]
    assert not np.isin(found, gone).any()
    assert recall(truth(ids[1000:], rows[1000:]).search(rows[:100], 10)[1], found) > 0.9
    assert index.ids.tolist() == sorted(ids[1000:])


@pytest.mark.parametrize("kind", KINDS)
def test_compaction_drops_the_dead(kind: str) -> None:
    index, ids, rows = built(kind)
    index.remove(ids[:200])
    assert not index.needs_compaction
    index.remove(ids[200:210])
    assert index.needs_compaction
    before, full = index.nbytes, index.search(rows[300:400], 1)[1]
    done: list[int] = []
    index.compact(done.append)
    assert done[-1] == 2000
    assert not index.needs_compaction
    assert index.nbytes < before
    assert len(index) == 1790
    assert (index.search(rows[300:400], 1)[1] == full).mean() > 0.95
    assert index.recall_at_10 is not None


def test_an_auto_index_outgrows_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.vectors_kinds.FLAT_UP_TO", 20)
    index = FaissIndex(DIM)
    assert index.kind == "flat"
    index.add(np.arange(1000), pictures(1000))
    assert index.needs_compaction
    assert index.needs_rebuild("auto")
    index.compact()
    assert index.kind == "hnsw32"
    assert not index.needs_rebuild("auto")
    assert index.needs_rebuild("flat")
    monkeypatch.undo()
    assert not index.needs_compaction  # it does not shrink again by itself


def test_a_wrong_dimension_names_both() -> None:
    index = FaissIndex(DIM)
    with pytest.raises(VectorIndexError, match=r"vectors of shape \[2, 16\] do not fit an index of dimension 32"):
        index.add(np.arange(2), pictures(2, dim=16))
    with pytest.raises(VectorIndexError, match=r"vectors of shape \[16\] do not fit an index of dimension 32"):
        index.search(np.ones(16, np.float32), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_rows_that_are_not_finite_are_refused_and_nothing_changes(bad: float) -> None:
    rows = pictures(3)
    rows[1, 4] = bad
    index = FaissIndex(DIM)
    with pytest.raises(VectorIndexError, match="vector 1 of 3 has values that are not finite"):
        index.add(np.arange(3), rows)
    with pytest.raises(VectorIndexError, match="not finite"):
        index.search(rows, 1)
    assert len(index) == 0


def test_ids_and_k_are_checked() -> None:
    index = FaissIndex(DIM)
    with pytest.raises(VectorIndexError, match="give whole numbers >= 0"):
        index.add(np.array([-1]), pictures(1))
    with pytest.raises(VectorIndexError, match="give whole numbers >= 0"):
        index.add(np.array([0.5]), pictures(1))  # type: ignore[arg-type]
    with pytest.raises(VectorIndexError, match="2 ids were given for 1 vectors"):
        index.add(np.arange(2), pictures(1))
    with pytest.raises(VectorIndexError, match="0 neighbours were asked for"):
        index.search(pictures(1), 0)


def test_effort_is_not_wasted_where_the_codes_are_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    recalls = {8: 0.5, 12: 0.7, 16: 0.8, 24: 0.849, 32: 0.85, 48: 0.852, 64: 0.852}
    monkeypatch.setattr("indexer.vectors_recall.grade", lambda engine, exam, effort: recalls[effort])
    index = FaissIndex(DIM, "ivf64,pq8")
    assert tune(index._engine, Exam(pictures(1), np.zeros((1, 10), np.int64))) == 0.849
    assert index.nprobe == 24
    recalls[32] = 0.96
    assert tune(index._engine, Exam(pictures(1), np.zeros((1, 10), np.int64))) == 0.96
    assert index.nprobe == 32
