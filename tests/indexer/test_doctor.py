"""Every kind of fault is found, told and mended."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import CatalogError, EncoderError
from indexer.library import Library
from indexer.upkeep.doctor import Finding, examine, repair
from tests.fakes import FakeEncoder
from tests.worlds import index, items, jpeg, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(6):
        write(tmp_path / "pictures" / f"{seed}.jpg", jpeg(seed))
    return tmp_path / "pictures"


@pytest.fixture
def library(tmp_path: Path, folder: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        index(opened, folder)
        yield opened


def sql(library: Library, statement: str, *values: object) -> None:
    """Change the database behind the library's back."""
    connection = sqlite3.connect(library.catalog.path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def mended(library: Library, *, hashes: bool = False) -> list[Finding]:
    """Repair, index, and look again."""
    with library.writer():
        repair(examine(library, FakeEncoder, hashes=hashes))
    index(library)
    return examine(library, FakeEncoder, hashes=hashes)


def test_a_sound_library_has_no_findings(library: Library) -> None:
    assert examine(library, FakeEncoder, hashes=True) == []


@pytest.mark.parametrize(
    "vector", [np.full(16, np.nan, "<f2"), np.full(16, 0.9, "<f2"), np.zeros(16, "<f2"), np.ones(3, "<f2")]
)
def test_unsound_vectors_are_made_again(library: Library, vector: np.ndarray) -> None:
    sql(library, "UPDATE vectors SET vector = ? WHERE item_id = 2", vector.tobytes())
    assert "vectors" in codes(examine(library))
    assert mended(library) == []
    assert len(library.index()) == 6


def test_a_search_survives_a_damaged_vector(library: Library, folder: Path) -> None:
    sql(library, "UPDATE vectors SET vector = x'00ff', generation = 99 WHERE item_id = 2")
    library.forget_index(library.active_encoder())  # type: ignore[arg-type]
    _, ids = library.index().search(FakeEncoder().encode_images([folder / "0.jpg"]), 6)
    assert 2 not in ids[0]


def test_missing_vectors_are_made(library: Library) -> None:
    sql(library, "DELETE FROM vectors WHERE item_id = 3")
    assert "missing-vectors" in codes(examine(library))
    assert mended(library) == []


def test_orphans_are_deleted(library: Library) -> None:
    sql(library, "DELETE FROM items WHERE id = 3")
    assert "orphans" in codes(examine(library))
    assert mended(library) == []
    assert len(items(library)) == 6


@pytest.mark.parametrize("harm", ["delete", "truncate", "garble"])
def test_a_damaged_index_is_built_again(library: Library, harm: str) -> None:
    with Library.open(library.path) as other:
        folder = other.path / "index"
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                {"delete": path.unlink, "truncate": lambda p=path, d=data: p.write_bytes(d[: len(d) // 2]),
                 "garble": lambda p=path, d=data: p.write_bytes(bytes(b ^ 0x55 for b in d))}[harm]()  # fmt: skip
        assert codes(examine(other, FakeEncoder))[0].startswith("index-")
        assert len(other.index()) == 6  # searching does not wait for the doctor
        assert mended(other) == []


def test_stale_hashes_are_found_when_asked_for(library: Library, folder: Path) -> None:
    path = folder / "0.jpg"
    stat, data = path.stat(), bytearray(jpeg(0))
    data[-30] ^= 0x10
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert examine(library, FakeEncoder) == []
    assert codes(examine(library, FakeEncoder, hashes=True)) == ["stale"]
    assert mended(library, hashes=True) == []


def test_disk_and_library_out_of_step_is_a_note(library: Library, folder: Path) -> None:
    write(folder / "new.jpg", jpeg(60))
    (folder / "0.jpg").unlink()
    (finding,) = examine(library, FakeEncoder)
    assert finding.note
    assert "1 pictures are new or changed and 1 are gone" in finding.message


def test_another_model_under_the_same_name_is_named(library: Library) -> None:
    findings = examine(library, lambda: FakeEncoder("changed"))
    assert codes(findings) == ["encoder-mismatch"]
    assert "reindex --model" in findings[0].remedy


def test_a_model_that_is_gone_is_told(library: Library) -> None:
    def gone() -> FakeEncoder:
        raise EncoderError("its folder is missing")

    assert codes(examine(library, gone)) == ["encoder"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "library.sqlite", b"not a database, by any means" * 100)
    with pytest.raises(CatalogError, match="not a library's database or is damaged"):
        Library.open(tmp_path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "library.sqlite")
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(CatalogError, match="choose another --library"):
        Library.open(tmp_path)


def test_a_newer_library_is_refused(library: Library) -> None:
    sql(library, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CatalogError, match="update Diptych"):
        Library.open(library.path)
