"""Exports are whole or refused; imports give the same library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import LibraryError
from indexer.library import Library
from indexer.upkeep.doctor import examine
from indexer.upkeep.originals import read_originals
from indexer.upkeep.transfer import export_library, import_library
from tests.fakes import FakeEncoder
from tests.worlds import contents, index, items, jpeg, plain, write


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    folder = tmp_path / "pictures"
    for seed in range(5):
        write(folder / f"{seed}.jpg", jpeg(seed))
    write(folder / "bad.jpg", b"no picture")
    rows = ["image,price,note", "0.jpg,5,", 'missing.jpg,7,"a ""quoted"" note, with a comma"']
    write(folder / "t.csv", "\n".join(rows).encode())
    with Library.open(tmp_path / "library", create=True) as opened:
        index(opened, folder, folder / "t.csv")
        yield opened


def test_an_import_is_the_same_library(library: Library, tmp_path: Path) -> None:
    assert export_library(library, tmp_path / "out") == 6
    assert import_library(tmp_path / "out", tmp_path / "copy") == 6
    with Library.open(tmp_path / "copy") as copy:
        assert contents(copy) == contents(library)
        assert [(i.id, i.metadata, i.path) for i in items(copy)] == [(i.id, i.metadata, i.path) for i in items(library)]
        assert [f for f in examine(copy, FakeEncoder) if not f.note] == []
        assert index(copy).embedded == 0
        query = FakeEncoder().encode_images([jpeg(3)])
        for mine, theirs in zip(copy.index().search(query, 6), library.index().search(query, 6), strict=True):
            np.testing.assert_allclose(mine, theirs)


def test_an_empty_library_can_be_carried(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", create=True) as empty:
        export_library(empty, tmp_path / "out")
    assert import_library(tmp_path / "out", tmp_path / "copy") == 0


def test_an_export_needs_an_empty_folder(library: Library, tmp_path: Path) -> None:
    write(tmp_path / "out" / "mine.txt", b"precious")
    with pytest.raises(LibraryError, match="is not empty; name a new folder"):
        export_library(library, tmp_path / "out")


@pytest.mark.parametrize("harm", ["items.parquet", "vectors-1.parquet", "manifest.json"])
def test_a_damaged_export_is_refused_and_leaves_nothing(library: Library, tmp_path: Path, harm: str) -> None:
    export_library(library, tmp_path / "out")
    path = tmp_path / "out" / harm
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LibraryError, match=r"make it again|make the export again"):
        import_library(tmp_path / "out", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_export_cannot_reach_out_of_its_folder(library: Library, tmp_path: Path) -> None:
    export_library(library, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["checksums"]["../library/library.sqlite"] = "0"
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LibraryError, match="missing or damaged"):
        import_library(tmp_path / "out", tmp_path / "copy")


def test_an_import_does_not_overwrite(library: Library, tmp_path: Path) -> None:
    export_library(library, tmp_path / "out")
    with pytest.raises(LibraryError, match="is not empty; import into a new"):
        import_library(tmp_path / "out", library.path)


def test_originals_come_back_from_folders_and_tables(library: Library, tmp_path: Path) -> None:
    ids = [item.id for item in items(library)]
    assert all(isinstance(data, bytes) for data in read_originals(library, ids).values())
    (tmp_path / "pictures" / "3.jpg").unlink()
    gone = {item.locator: item.id for item in items(library)}[b"3.jpg"]
    assert not isinstance(read_originals(library, [gone])[gone], bytes)
    assert plain("red")
