"""A folder is scanned completely, in order, with one stat for each picture, and never opens anything."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexer.errors import PictureError, SourceError
from indexer.images import Limits
from indexer.sources import SourceOptions, open_source, reopen_source
from indexer.sources.folder import FolderSource
from indexer.sources.found import Found, Unreadable, display


def fill(root: Path, *names: str) -> FolderSource:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return FolderSource(str(root))


def locators(source: FolderSource) -> list[bytes]:
    return [item.locator for item in source.scan()]


def test_order_is_that_of_the_locators(tmp_path: Path) -> None:
    source = fill(tmp_path, "b.jpg", "a/z.png", "a.jpg", "a/b/c.webp", "a-1.jpg", "Z.jpg", "a0.jpg")
    assert locators(source) == sorted(locators(source))
    assert locators(source) == [b"Z.jpg", b"a-1.jpg", b"a.jpg", b"a/b/c.webp", b"a/z.png", b"a0.jpg", b"b.jpg"]


def test_what_is_found(tmp_path: Path) -> None:
    (item,) = fill(tmp_path, "one/two.jpg").scan()
    status = (tmp_path / "one" / "two.jpg").stat()
    assert isinstance(item, Found)
    assert (item.size, item.mtime_ns, item.ctime_ns) == (11, status.st_mtime_ns, status.st_ctime_ns)
    assert item.path == str(tmp_path / "one" / "two.jpg")
    assert item.read is not None
    assert item.read(Limits()) == b"one/two.jpg"
    assert (item.metadata, item.text, item.product, item.vector, item.metadata_hash()) == ({}, "", "", None, 0)


def test_odd_names_are_kept_and_shown_escaped(tmp_path: Path) -> None:
    names = [b"new\nline.jpg", b"caf\xe9.jpg", b" .jpg", "\u202egpj.jpg".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = {item.locator: item for item in FolderSource(str(tmp_path)).scan()}
    assert set(found) == set(names)
    assert all(item.read(Limits()) == b"x" for item in found.values())
    assert found[b"new\nline.jpg"].path.endswith("/new\\nline.jpg")
    assert found[b"caf\xe9.jpg"].path.endswith("/caf\\xe9.jpg")
    assert display("a\udce9b") == "a\\xe9b"
    assert all(item.path.isprintable() for item in found.values())


def test_hidden_and_litter_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    source = fill(tmp_path, ".a.jpg", ".git/b.jpg", "@eaDir/c.jpg", "__MACOSX/d.jpg", "e.jpg", "f.txt", "jpg")
    assert locators(source) == [b"e.jpg"]
    assert source.options == {}
    hidden = FolderSource(str(tmp_path), hidden=True)
    assert locators(hidden) == [b".a.jpg", b".git/b.jpg", b"@eaDir/c.jpg", b"__MACOSX/d.jpg", b"e.jpg"]
    again = reopen_source("folder", hidden.location, hidden.options)
    assert [item.locator for item in again.scan()] == locators(hidden)


def test_links_are_followed_and_a_folder_counts_once(tmp_path: Path) -> None:
    source = fill(tmp_path, "m/pic.jpg", "z/other.jpg")
    (tmp_path / "a").symlink_to("m")
    (tmp_path / "link.jpg").symlink_to("z/other.jpg")
    assert locators(source) == [b"a/pic.jpg", b"link.jpg", b"z/other.jpg"]


def test_loops_and_broken_links_are_told(tmp_path: Path) -> None:
    source = fill(tmp_path, "m/pic.jpg")
    (tmp_path / "m" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.jpg").symlink_to("nothing")
    (tmp_path / "gone").symlink_to("nothing")
    told = {item.locator: item.error.reason for item in source.scan() if isinstance(item, Unreadable)}
    assert told == {b"m/up": "symlink-loop", b"self": "symlink-loop", b"gone.jpg": "broken-link"}
    assert b"m/pic.jpg" in locators(source)


def test_a_forbidden_folder_shields_what_is_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fill(tmp_path, "a/x.jpg", "b.jpg", "c.jpg/y.jpg")
    plain = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/a"):
            raise PermissionError(13, "Permission denied")
        if path.endswith(b"/c.jpg"):
            raise OSError(5, "Input/output error")
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    a, b, c = source.scan()
    assert isinstance(a, Unreadable)
    assert (a.locator, a.prefix, a.error.reason, a.error.transient) == (b"a", True, "permission", True)
    assert str(a.error) == (
        "The folder cannot be listed (Permission denied); "
        "give this user the right to read it, or leave it out; what was indexed below it is kept meanwhile"
    )
    assert isinstance(b, Found)
    assert isinstance(c, Unreadable)
    assert (c.error.reason, c.prefix) == ("unlistable", True)


def test_what_vanishes_during_the_scan_is_passed_over(tmp_path: Path) -> None:
    source = fill(tmp_path, "a.jpg", "b.jpg", "c/d.jpg", "e.jpg")
    scan = source.scan()
    assert next(scan).locator == b"a.jpg"
    (tmp_path / "b.jpg").unlink()
    (tmp_path / "c" / "d.jpg").unlink()
    (tmp_path / "c").rmdir()
    last = next(scan)
    assert last.locator == b"e.jpg"
    assert list(scan) == []
    (tmp_path / "e.jpg").unlink()
    assert isinstance(last, Found)
    assert last.read is not None
    with pytest.raises(PictureError, match=r"^The file vanished before it could be read; put it") as caught:
        last.read(Limits())
    assert caught.value.transient


def test_very_deep_folders_end_in_a_sentence(tmp_path: Path) -> None:
    deep, made = os.open(tmp_path, os.O_RDONLY), []
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=deep)
        made.append(deep)
        deep = os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
    found = list(FolderSource(str(tmp_path)).scan())
    assert [type(item) for item in found] == [Unreadable]
    assert found[0].prefix
    os.close(deep)
    for above in reversed(made):  # shutil.rmtree could not
        os.rmdir("d" * 200, dir_fd=above)
        os.close(above)


def test_roots(tmp_path: Path) -> None:
    source = fill(tmp_path, "a.jpg")
    assert source.exists()
    assert source.stamp() is None
    assert open_source(str(tmp_path), SourceOptions()).kind == "folder"
    gone = FolderSource(str(tmp_path / "gone"))
    assert not gone.exists()
    with pytest.raises(
        SourceError, match=r"gone cannot be listed \(No such file or directory\); check that it is mount"
    ):
        list(gone.scan())
    with pytest.raises(SourceError, match="gone does not exist; check the path, or"):
        open_source(str(tmp_path / "gone"), SourceOptions())
    with pytest.raises(SourceError, match="is a single picture; give the folder it lies in"):
        open_source(str(tmp_path / "a.jpg"), SourceOptions())
    (tmp_path / "a.docx").touch()
    with pytest.raises(SourceError, match=r"is no folder, \.csv"):
        open_source(str(tmp_path / "a.docx"), SourceOptions())
    with pytest.raises(SourceError, match="There is no kind of source called 'shop'"):
        open_source(str(tmp_path), SourceOptions(kind="shop"))
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "b.jpg").touch()
    assert locators(FolderSource(str(linked))) == [b"b.jpg"]
    assert locators(FolderSource(str(tmp_path) + "/")) == [b"a.jpg", b"linked/b.jpg"]


def test_metadata_hash_is_stable_and_heeds_everything() -> None:
    def of(**fields: object) -> int:
        return Found(b"x", 1, 1, None, **fields).metadata_hash()

    hashes = {
        of(metadata={"a": 1, "b": 2}),
        of(metadata={"a": 2, "b": 2}),
        of(metadata={"a": "1", "b": 2}),
        of(text="t"),
        of(product="t"),
        of(),
    }
    assert len(hashes) == 6
    assert of(metadata={"a": 1, "b": 2}) == of(metadata={"b": 2, "a": 1}) == 3847852097163260557
    assert all(0 <= value < 2**63 for value in hashes)


def test_a_folder_needs_no_heavy_library() -> None:
    heavy = "{'httpx', 'pyarrow', 'pillow_heif', 'torch', 'pandas'}"
    code = f"import sys, indexer.sources; sys.exit(sorted({heavy} & set(sys.modules)) or None)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_scanning_is_about_as_fast_as_listing(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for number in range(500):
            (tmp_path / str(folder) / f"{number}.jpg").touch()
    bare, ours = 9.0, 9.0
    for _ in range(3):
        start = time.perf_counter()
        for folder in os.scandir(os.fsencode(tmp_path)):
            for entry in os.scandir(folder.path):
                entry.stat()
        bare = min(bare, time.perf_counter() - start)
        start = time.perf_counter()
        assert sum(1 for _ in FolderSource(str(tmp_path)).scan()) == 10_000
        ours = min(ours, time.perf_counter() - start)
    assert ours < 5 * bare
