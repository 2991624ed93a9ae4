"""A saved index comes back, whatever happened while saving; a damaged one is refused."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import VectorIndexError
from indexer.vectors import FaissIndex, load_index
from tests.indexer.vectors_world import DIM, KINDS, assert_same, built, pictures, truth


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_comes_back(kind: str, mmap: bool, tmp_path: Path) -> None:
    index, ids, rows = built(kind)
    index.remove(ids[:50])
    index.generation, index.stamp = 42, "abc"
    index.save(tmp_path / "vectors")
    loaded = load_index(tmp_path / "vectors", mmap, threads=1)
    assert (loaded.kind, loaded.dim, len(loaded)) == (kind, DIM, 1950)
    assert (loaded.generation, loaded.stamp) == (42, "abc")
    assert (loaded.recall_at_10, loaded.ef_search, loaded.nprobe) == (index.recall_at_10, index.ef_search, index.nprobe)
    for filtered in (None, ids[::3], ids[:55]):
        np.testing.assert_array_equal(loaded.search(rows[:9], 5, filtered)[1], index.search(rows[:9], 5, filtered)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_can_be_changed_and_saved_again(kind: str, tmp_path: Path) -> None:
    index, ids, rows = built(kind)
    index.save(tmp_path / "vectors")
    mapped = load_index(tmp_path / "vectors", threads=1)
    index.save(tmp_path / "vectors")  # the file behind the mapping loses its name
    assert mapped.remove(ids[:10]) == 10
    mapped.save(tmp_path / "vectors")
    mapped.add(np.array([10**9]), -rows[:1])
    assert mapped.search(-rows[:1], 1)[1].item() == 10**9
    mapped.save(tmp_path / "vectors")
    again = load_index(tmp_path / "vectors", verify=True)
    assert len(again) == 1991
    assert again.search(-rows[:1], 1)[1].item() == 10**9
    again.compact()
    assert len(again) == 1991


@pytest.mark.parametrize("kind", ["flat", "hnsw8", "ivf16,sq8"])
def test_an_empty_index_is_saved_too(kind: str, tmp_path: Path) -> None:
    FaissIndex(DIM, kind).save(tmp_path / "vectors")
    index = load_index(tmp_path / "vectors")
    assert len(index) == 0
    index.add(np.arange(3), pictures(3))
    assert_same(index, truth(np.arange(3), pictures(3)))


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_old_files_go_and_strangers_stay(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("mine")
    index, _, _ = built("flat", 50)
    index.save(tmp_path / "vectors")
    (tmp_path / "vectors.0123456789abcdef.faiss").write_text("left by a crash")
    index.save(tmp_path / "vectors")
    assert sorted(name.rpartition(".")[2] for name in files(tmp_path)) == ["faiss", "ids", "txt", "vectors"]


class Crash(BaseException):
    """Stands for the power going off."""


@pytest.mark.parametrize("step", range(12))
def test_a_crash_at_any_step_of_save_leaves_the_old_or_the_new(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, ids, _ = built("flat", 50)
    index.save(tmp_path / "vectors")
    index.remove(ids[:10])
    steps = iter(range(100))

    def die_at(real):
        def call(*args, **kwargs):
            if next(steps) >= step:  # and whatever would tidy up afterwards fails as well
                raise Crash
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for target in (os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "write_text"):
            patch.setattr(*target, die_at(getattr(*target)))
        try:
            index.save(tmp_path / "vectors")
            finished = True
        except Crash:
            finished = False
    loaded = load_index(tmp_path / "vectors")
    assert len(loaded) in ({40} if finished else {50, 40})
    index.save(tmp_path / "vectors")
    assert len(load_index(tmp_path / "vectors")) == 40
    assert len(files(tmp_path)) == 3  # what the crash left was swept up


def test_a_full_disk_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, ids, _ = built("flat", 50)
    index.save(tmp_path / "vectors")
    before = files(tmp_path)
    index.remove(ids[:10])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(VectorIndexError, match=r"No space left.*the old one stays"):
            index.save(tmp_path / "vectors")
    assert files(tmp_path) == before
    with pytest.raises(VectorIndexError, match="could not be written"):
        index.save(tmp_path / "missing" / "vectors")


@pytest.mark.parametrize("part", ["faiss", "ids", "manifest"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone", "empty", "garbage"])
@pytest.mark.parametrize("kind", ["flat", "hnsw8", "ivf16,sq8"])
def test_a_damaged_file_is_refused(kind: str, part: str, how: str, tmp_path: Path) -> None:
    built(kind, 700)[0].save(tmp_path / "vectors")
    file = tmp_path / "vectors" if part == "manifest" else next(tmp_path.glob(f"vectors.*.{part}"))
    data = file.read_bytes()
    middle = len(data) // 2
    if how == "gone":
        file.unlink()
    else:
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"cut": data[:-1], "flipped": flipped, "empty": b"", "garbage": os.urandom(len(data))}[how])
    with pytest.raises(VectorIndexError, match=r"is damaged \(|there is no vector index at"):
        load_index(tmp_path / "vectors")


def test_a_manifest_of_another_time_or_program_is_refused(tmp_path: Path) -> None:
    built("flat", 50)[0].save(tmp_path / "vectors")
    body = json.loads((tmp_path / "vectors").read_text())
    (tmp_path / "vectors").write_text(json.dumps(body | {"version": 99}))
    with pytest.raises(VectorIndexError, match="has format 99, this program reads 1; rebuild the index"):
        load_index(tmp_path / "vectors")
    (tmp_path / "vectors").write_text(json.dumps(body | {"magic": "other"}))
    with pytest.raises(VectorIndexError, match="it is not a vector index"):
        load_index(tmp_path / "vectors")


def test_large_parts_are_checked_in_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.vectors_files._WHOLE_UP_TO", 1000)
    monkeypatch.setattr("indexer.vectors_files._BLOCK", 160)
    built("flat", 3000)[0].save(tmp_path / "vectors")
    file = next(tmp_path.glob("vectors.*.faiss"))
    data = bytearray(file.read_bytes())
    data[1000] ^= 1  # between two samples
    file.write_bytes(data)
    load_index(tmp_path / "vectors")
    with pytest.raises(VectorIndexError, match="wrong checksum"):
        load_index(tmp_path / "vectors", verify=True)
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(VectorIndexError, match="wrong checksum"):
        load_index(tmp_path / "vectors")


def test_an_index_opens_while_it_is_replaced(tmp_path: Path) -> None:
    index, _, _ = built("flat", 50)
    index.save(tmp_path / "vectors")
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            index.save(tmp_path / "vectors")

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(40):
            assert len(load_index(tmp_path / "vectors")) == 50
    finally:
        stop.set()
        writer.join()
