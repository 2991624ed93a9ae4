"""WebDataset archives: samples by key, members read by position, damage told after what is sound."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from indexer.errors import PictureError, SourceError
from indexer.images import Limits, decode
from indexer.sources import SourceOptions, open_source
from indexer.sources.found import Found, Unreadable
from indexer.sources.webdataset import MAX_SIDECAR
from tests.hostile import encoded, picture

JPEG = encoded(picture(), "JPEG")


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def scan(path: Path) -> list[Found | Unreadable]:
    return list(open_source(str(path), SourceOptions()).scan())


def test_a_sample_is_its_neighbours_of_one_name(tmp_path: Path) -> None:
    about = json.dumps({"caption": "not this", "width": 96, "nested": {"x": 1}, "none": None}).encode()
    members = {
        "000.jpg": JPEG,
        "000.txt": b"A red sofa\n",
        "000.json": about,
        "000.cls": b"7",
        "001.json": b'{"caption": "A lamp"}',
        "001.PNG": encoded(picture(), "PNG"),
        "dir.v1/002.left.jpg": JPEG,
        "dir.v1/002.right.jpg": JPEG,
        "dir.v1/002.caption": b"Two sides",
        "003.txt": b"no picture",
    }
    source = open_source(str(shard(tmp_path / "a.tar", members)), SourceOptions())
    status = (tmp_path / "a.tar").stat()
    assert (source.kind, source.options) == ("webdataset", {})
    assert source.stamp() == (status.st_size, status.st_mtime_ns)
    one, two, left, right = source.scan()
    assert (one.locator, one.text, one.metadata) == (b"000.jpg", "A red sofa", {"width": 96, "nested.x": 1, "label": 7})
    assert (one.size, one.mtime_ns, one.path) == (len(JPEG), status.st_mtime_ns, f"{tmp_path}/a.tar::000.jpg")
    assert one.read(Limits()) == right.read(Limits()) == JPEG
    assert (two.locator, two.text) == (b"001.PNG", "A lamp")
    assert decode(two.read(Limits())).format == "PNG"
    assert [left.locator, right.locator] == [b"dir.v1/002.left.jpg", b"dir.v1/002.right.jpg"]
    assert left.text == right.text == "Two sides"


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    names = ["../../etc/passwd.jpg", "/etc/shadow.jpg", "a\nb.jpg", "\udcff.jpg", "x.jpg"]
    shard(path, dict.fromkeys(names, JPEG))
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("z.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for name in (".hidden.jpg", "._x.jpg", "nosuffix"):
            member = tarfile.TarInfo(name)
            tar.addfile(member)
        tar.addfile(tarfile.TarInfo("x.jpg"))
    items = scan(path)
    assert [item.locator for item in items] == [*(n.encode("utf-8", "surrogateescape") for n in names), b"x.jpg#2"]
    assert all(item.path.isprintable() for item in items)
    assert items[0].read(Limits()) == JPEG
    with pytest.raises(PictureError, match="The file has no bytes"):
        items[-1].read(Limits())
    with pytest.raises(PictureError, match="limit is 10"):
        items[0].read(Limits(max_bytes=10))


def test_side_files_are_capped_and_must_be_sound(tmp_path: Path) -> None:
    members = {
        "a.jpg": JPEG,
        "a.json": b"[" * 5000,
        "b.jpg": JPEG,
        "b.txt": b"x" * (MAX_SIDECAR + 1),
        "c.jpg": JPEG,
        "c.json": b"[1]",
        "d.jpg": JPEG,
    }
    a, b, c, d = scan(shard(tmp_path / "a.tar", members))
    assert (a.locator, a.error.reason) == (b"a.jpg", "bad-metadata")
    assert str(a.error) == "a.json is no JSON object; correct it and write the archive again"
    assert b.error.reason == "metadata-too-large"
    assert b.error.message == "b.txt has 1,048,577 bytes and the limit is 1,048,576"
    assert c.error.reason == "bad-metadata"
    assert isinstance(d, Found)


def test_a_truncated_archive_gives_what_comes_before(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {f"{i}.jpg": JPEG for i in range(5)})
    whole = path.read_bytes()
    step = 512 + -(-len(JPEG) // 512) * 512
    for cut, sound in [(step * 3, 3), (step * 3 + 100, 3), (step * 3 + 600, 3), (step * 5, 5)]:
        path.write_bytes(whole[:cut])
        *good, bad = scan(path)
        assert [item.locator for item in good] == [b"%d.jpg" % i for i in range(sound)], cut
        assert isinstance(bad, Unreadable)
        assert (bad.locator, bad.prefix, bad.error.reason) == (b"", True, "truncated")
        assert bad.error.message == (
            f"The archive breaks off or is damaged after {step * sound:,} bytes; what comes before is used"
        )
    path.write_bytes(whole[: step * 2] + b"\xee" * 512 + whole[step * 2 :])
    assert [type(item) for item in scan(path)] == [Found, Found, Unreadable]


def test_an_archive_that_shrinks_is_told_when_read(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"a.jpg": JPEG})
    (item,) = scan(path)
    path.write_bytes(b"short")
    with pytest.raises(PictureError, match="vanished before it could be read"):
        item.read(Limits())
    path.unlink()
    with pytest.raises(PictureError, match="vanished before it could be read"):
        item.read(Limits())


def test_what_is_no_plain_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    for name in ("a.tar.gz", "b.tgz", "c.tar"):
        (tmp_path / name).write_bytes((tmp_path / "a.tar.gz").read_bytes())
        with pytest.raises(
            SourceError, match="is compressed, so nothing in it can be read by position; gunzip it first"
        ):
            scan(tmp_path / name)
    (tmp_path / "d.tar").write_bytes(b"not a tar" * 1000)
    with pytest.raises(SourceError, match=r"d\.tar cannot be read as a tar archive"):
        scan(tmp_path / "d.tar")
    assert scan(shard(tmp_path / "empty.tar", {})) == []
