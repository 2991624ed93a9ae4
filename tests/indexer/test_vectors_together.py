"""Many threads, two OpenMPs, and any sequence of changes, saves and loads."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.vectors import FaissIndex, load_index
from tests.fakes import FakeIndex
from tests.indexer.vectors_world import assert_same, built, pictures


@pytest.mark.parametrize("kind", ["flat", "hnsw8", "ivf16,sq8"])
def test_many_readers_beside_writers(kind: str) -> None:
    index, ids, rows = built(kind, 1200)
    stable = np.arange(600)  # positions in ``ids`` that no writer touches
    stop, failures = threading.Event(), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            chosen = rng.choice(stable, 5)
            only = ids[stable] if seed % 2 else None
            scores, found = index.search(rows[chosen], 3, only)
            if not ((found[:, 0] == ids[chosen]) | (scores[:, 0] > 0.999)).mean() >= 0.8 or (found == -1).any():
                failures.append((found, scores))

    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(8):
            chosen = 600 + 2 * rng.choice(300, 30, replace=False) + seed % 2
            index.remove(ids[chosen])
            index.add(ids[chosen], rows[chosen])

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for thread in readers + writers:
        thread.start()
    index.compact()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert len(index) == 1200
    assert index.ids.tolist() == sorted(ids)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["torch, faiss", "faiss, torch"])
def test_faiss_and_torch_share_a_process(order: str) -> None:
    """Each brings an OpenMP of its own; in either order both work, also at the same time."""
    code = f"""
import threading
import numpy as np
import {order}
from indexer.vectors import FaissIndex
index = FaissIndex(32)
rows = np.random.default_rng(0).standard_normal((4000, 32), np.float32)
index.add(np.arange(4000), rows)
search = lambda: [index.search(rows[:32], 5) for _ in range(2)]
multiply = lambda: [torch.randn(200, 200) @ torch.randn(200, 200) for _ in range(3)]
threads = [threading.Thread(target=work) for work in (search, multiply) * 2]
[t.start() for t in threads]; [t.join() for t in threads]
print(torch.get_num_threads() >= 1, index.search(rows[:1], 1)[1].item() >= 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_importing_is_cheap() -> None:
    code = "import sys, indexer.vectors; print({'faiss', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


ids_strategy = st.lists(st.integers(0, 12), min_size=1, max_size=6)
steps = st.one_of(
    st.tuples(st.just("add"), ids_strategy, st.integers(0, 999)),
    st.tuples(st.just("remove"), ids_strategy, st.just(0)),
    st.tuples(st.sampled_from(["compact", "save"]), st.just([]), st.just(0)),
    st.tuples(st.just("load"), st.just([]), st.integers(0, 1)),
)


@given(sequence=st.lists(steps, max_size=12), kind=st.sampled_from(["flat", "hnsw8", "ivf1,sq8", "auto"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_equals_brute_force(
    sequence: list[tuple[str, list[int], int]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    index, fake = FaissIndex(8, kind, threads=1), FakeIndex(8)
    for action, ids, number in sequence:
        if action == "add":
            rows = pictures(len(ids), seed=number, dim=8)
            index.add(np.array(ids), rows)
            fake.add(np.array(ids), rows)
        elif action == "remove":
            assert index.remove(np.array(ids)) == fake.remove(np.array(ids))
        elif action == "compact":
            index.compact()
        elif action == "save":
            index.save(folder / "index")
            fake.save(folder / "fake")
        elif (folder / "index").exists():
            index, fake = load_index(folder / "index", bool(number)), FakeIndex.load(folder / "fake")
        assert_same(index, fake)
    assert index.ids.tolist() == fake.ids.tolist()
