"""Vectors in clip-retrieval's layout: unit rows with their metadata, and no code run from an array."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import SourceError
from indexer.sources import SourceOptions, open_source
from indexer.sources.found import Found, Unreadable


def layout(folder: Path, *shards: tuple[np.ndarray, dict[str, list[object]] | None]) -> Path:
    (folder / "img_emb").mkdir(exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    for number, (rows, columns) in enumerate(shards):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", rows)
        if columns is not None:
            pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{number}.parquet")
    return folder


def scan(folder: Path) -> list[Found | Unreadable]:
    source = open_source(str(folder), SourceOptions())
    assert source.kind == "embeddings"
    return list(source.scan())


def test_rows_become_items_with_unit_vectors(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    columns = {"image_path": ["a.jpg", "b.jpg", "a.jpg"], "caption": ["A", None, "C"], "price": [1.5, None, 3.0]}
    items = scan(layout(tmp_path, (rows, columns), (rows[:1].astype(np.float32), {"url": ["http://x/y"]})))
    assert [item.locator for item in items] == [b"a.jpg", b"b.jpg", b"a.jpg#img_emb_0:2", b"http://x/y"]
    assert [item.text for item in items] == ["A", "", "C", ""]
    assert [item.metadata for item in items] == [{"price": 1.5}, {}, {"price": 3.0}, {}]
    for item, row in zip(items, [*rows, rows[0]], strict=True):
        assert item.read is None
        assert item.vector.dtype == np.float32
        assert abs(np.linalg.norm(item.vector) - 1) < 1e-6
        assert np.allclose(item.vector, row / np.linalg.norm(row.astype(np.float64)), atol=1e-3)


def test_without_metadata_rows_are_numbered(tmp_path: Path) -> None:
    assert [item.locator for item in scan(layout(tmp_path, (np.eye(2), None)))] == [b"img_emb_0:0", b"img_emb_0:1"]


def test_shards_come_in_numerical_order(tmp_path: Path) -> None:
    items = scan(layout(tmp_path, *((np.eye(2)[:1], {"key": [f"k{i}"]}) for i in range(12))))
    assert [item.locator for item in items] == [b"k%d" % i for i in range(12)]


def test_bad_vectors_are_told(tmp_path: Path) -> None:
    rows = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    good, zero, nan, infinite = scan(layout(tmp_path, (rows, None)))
    assert isinstance(good, Found)
    assert str(zero.error) == "The vector is all zeros; compute it again"
    assert str(nan.error) == str(infinite.error) == "The vector has numbers that are not finite; compute it again"
    assert zero.error.reason == "bad-vector"


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    def refused(pattern: str) -> None:
        with pytest.raises(SourceError, match=pattern):
            scan(tmp_path)

    layout(tmp_path, (np.eye(3), {"key": ["a", "b"]}))
    refused(r"img_emb_0\.npy has 3 vectors and .*metadata_0\.parquet has 2 rows; write both again")
    layout(tmp_path, (np.eye(2), {"key": ["a", "b"]}), (np.eye(3), {"key": ["a", "b", "c"]}))
    refused("has vectors of 2 numbers and .* of 3; keep one model's only")
    layout(tmp_path, (np.eye(2), {"key": ["a", "b"]}), (np.eye(2), None))
    (tmp_path / "metadata" / "metadata_1.parquet").unlink()
    refused(r"has no metadata for img_emb_1\.npy; write both again")
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "metadata" / "metadata_1.parquet")
    refused("cannot be read as an array")
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", np.zeros(4))
    refused("is no matrix of floats")
    (tmp_path / "img_emb" / "img_emb_1.npy").write_bytes(b"\x93NUMPY")
    refused("cannot be read as an array")
    for path in (tmp_path / "img_emb").iterdir():
        path.unlink()
    with pytest.raises(SourceError, match=r"has no img_emb/img_emb_0\.npy; give a folder that clip-retrieval wrote"):
        open_source(str(tmp_path), SourceOptions(kind="embeddings"))
