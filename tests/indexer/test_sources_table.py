"""Tables: any column may hold the picture, every row is an item or a sentence, memory stays flat."""

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import PictureError, SourceError
from indexer.images import Limits
from indexer.sources import SourceOptions, open_source, reopen_source
from indexer.sources.found import Found, Unreadable
from indexer.sources.table import TableSource
from tests.hostile import encoded, picture

JPEG = encoded(picture(), "JPEG")


def table(folder: Path, text: str | bytes, name: str = "shop.csv", **options: object) -> TableSource:
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / "b.jpg").write_bytes(JPEG + b"b")
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_source(str(path), SourceOptions(**options))


def parquet(folder: Path, columns: dict[str, object], **options: object) -> TableSource:
    (folder / "a.jpg").write_bytes(JPEG)
    pq.write_table(pa.table(columns), folder / "shop.parquet", row_group_size=100)
    return open_source(str(folder / "shop.parquet"), SourceOptions(**options))


def found(source: TableSource) -> list[Found]:
    items = list(source.scan())
    assert all(isinstance(item, Found) for item in items), items
    return items


def reasons(source: TableSource) -> list[str | None]:
    return [item.error.reason if isinstance(item, Unreadable) else None for item in source.scan()]


def test_a_row_becomes_an_item(tmp_path: Path) -> None:
    text = 'image,title,price,stock,code,sku,maker\na.jpg,"Red, ""big""\nsofa", 12.50,3,00123,S-1,\n'
    (item,) = found(table(tmp_path, text, id_column="sku", product_column="maker"))
    assert (item.locator, item.text, item.product) == (b"S-1", 'Red, "big" sofa', "")
    assert item.metadata == {"price": 12.5, "stock": 3, "code": "00123"}
    status = (tmp_path / "a.jpg").stat()
    assert (item.size, item.mtime_ns, item.ctime_ns) == (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert item.path == str(tmp_path / "a.jpg")
    assert item.read(Limits()) == JPEG


def test_numbers_and_what_only_looks_like_them(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    cells = ["-5", "007", "1.50", ".5", "1e5", "1234567890123456789", "+3", "1_000", "0", "nan"]
    (item,) = found(table(tmp_path, f"path,{','.join(names)}\na.jpg,{','.join(cells)}\n"))
    assert list(item.metadata.values()) == [-5, "007", 1.5, 0.5, "1e5", "1234567890123456789", "+3", "1_000", 0, "nan"]


def test_paths_may_be_relative_absolute_or_file_urls(tmp_path: Path) -> None:
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "c.jpg").write_bytes(JPEG)
    rows = ["a.jpg", "./sub dir/c.jpg", str(tmp_path / "b.jpg"), f"file://{tmp_path}/sub%20dir/c.jpg"]
    items = found(table(tmp_path, "file\n" + "\n".join(rows)))
    assert [item.locator for item in items] == [row.encode() for row in rows]
    assert [Path(item.path).name for item in items] == ["a.jpg", "c.jpg", "b.jpg", "c.jpg"]
    assert items[1].path == str(tmp_path / "sub dir" / "c.jpg")
    assert len(items[2].read(Limits())) == len(JPEG) + 1


def test_repeated_paths_get_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.jpg#2").write_bytes(JPEG)
    items = found(table(tmp_path, "path\na.jpg\na.jpg#2\na.jpg\na.jpg\n"))
    assert [item.locator for item in items] == [b"a.jpg", b"a.jpg#2", b"a.jpg#2#2", b"a.jpg#3"]


def test_urls_wait_to_be_fetched(tmp_path: Path) -> None:
    (item,) = found(table(tmp_path, "url,title\nHTTPS://shop.example/a.jpg?x=1,Sofa\n"))
    assert (item.size, item.mtime_ns, item.path) == (-1, 0, "HTTPS://shop.example/a.jpg?x=1")
    (item,) = found(table(tmp_path, "url\nhttp://127.0.0.1:9/a.jpg\n"))
    with pytest.raises(PictureError, match="only public addresses are fetched from"):
        item.read(Limits())
    (item,) = found(table(tmp_path, "url\nhttp://127.0.0.1:9/a.jpg\n", allow_private=True))
    with pytest.raises(PictureError, match="The connection failed"):
        item.read(Limits())


def test_every_bad_row_has_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    text = "id,image\n1,a.jpg\n,b.jpg\n1,b.jpg\n4,\n5,gone.jpg\n6,folder\n7\n8,a.jpg/b\n9,loop.jpg\n10,b.jpg\n"
    source = table(tmp_path, text, id_column="id")
    items = list(source.scan())
    assert reasons(source) == [
        None,
        "no-id",
        "duplicate-id",
        "no-picture",
        "missing",
        "not-a-file",
        "no-picture",
        "missing",
        "symlink-loop",
        None,
    ]
    assert len({item.locator for item in items}) == len(items)
    assert str(items[1].error) == "Row 2 has nothing in column 'id'; correct the row"
    assert str(items[2].error) == "Row 3 has the id of an earlier row, 1; correct the row"
    assert str(items[3].error) == "Row 4 has nothing in column 'image'; correct the row"
    assert str(items[4].error) == "There is no file at this path; correct the path, or put the file there"
    assert items[4].error.transient
    assert items[4].path == str(tmp_path / "gone.jpg")
    assert items[3].path == f"{tmp_path}/shop.csv::4"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "image;name\na.jpg;Größe, rot\n"),
        ("a.tsv", "image\tname\na.jpg\tGröße, rot\n"),
        ("a.csv", 'image|"name"\na.jpg|Größe, rot\n'),
        ("a.csv", '\ufeffimage,name\r\na.jpg,"Größe, rot"\r\n\r\n'),
    ],
)
def test_delimiters_and_marks(tmp_path: Path, name: str, text: str) -> None:
    (item,) = found(table(tmp_path, text, name))
    assert (item.locator, item.text) == (b"a.jpg", "Größe, rot")


def test_encodings(tmp_path: Path) -> None:
    (item,) = found(table(tmp_path, "image,name\na.jpg,Größe\n".encode("latin-1")))
    assert item.text == "Größe"
    with pytest.raises(SourceError, match="is in UTF-16 or no text at all; save it as CSV in UTF-8"):
        table(tmp_path, "image,name\na.jpg,x\n".encode("utf-16"))


def test_a_plain_list_of_paths(tmp_path: Path) -> None:
    items = found(table(tmp_path, "a.jpg\n\nb.jpg\nhttp://x.example/c.jpg\n", "list.txt"))
    assert [item.locator for item in items] == [b"a.jpg", b"b.jpg", b"http://x.example/c.jpg"]


def test_columns_are_guessed_or_asked_for(tmp_path: Path) -> None:
    source = table(tmp_path, "Description,Caption,FileName\nlong,short,a.jpg\n")
    (item,) = found(source)
    assert (item.text, item.metadata) == ("short", {"Description": "long"})
    with pytest.raises(SourceError, match=r"No column of .*shop\.csv looks like pictures; .*: sku, title$"):
        table(tmp_path, "sku,title\n1,x\n")
    with pytest.raises(SourceError, match=r"has no column 'pic' \(image_column\); it has image, title$"):
        table(tmp_path, "image,title\na.jpg,x\n", image_column="pic")
    with pytest.raises(SourceError, match="no columns at all"):
        table(tmp_path, "")
    (item,) = found(table(tmp_path, "x,y\n1,a.jpg\n", image_column="y", text_column="x"))
    assert (item.text, item.metadata) == ("1", {})


def test_ids_and_products_are_never_guessed(tmp_path: Path) -> None:
    (item,) = found(table(tmp_path, "id,image,product\n7,a.jpg,p\n"))
    assert (item.locator, item.product, item.metadata) == (b"a.jpg", "", {"id": 7, "product": "p"})


def test_a_broken_csv_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.delimited._LONGEST_CELL", 1000)
    source = table(tmp_path, f"image,title\na.jpg,x\nb.jpg,{'y' * 2000}\n")
    with pytest.raises(SourceError, match=r"^Line 3 of .*shop\.csv is no valid CSV \(field larger than"):
        list(source.scan())


def test_reopening_gives_the_same(tmp_path: Path) -> None:
    source = table(
        tmp_path, "sku,image,t\n1,a.jpg,x\n2,b.jpg,y\n", id_column="sku", text_column="t", allow_private=True
    )
    assert source.options == {"id_column": "sku", "text_column": "t", "allow_private": True}
    again = reopen_source(source.kind, source.location, source.options)
    assert [(i.locator, i.text) for i in again.scan()] == [(i.locator, i.text) for i in source.scan()]
    Path(source.location).unlink()
    assert not reopen_source(source.kind, source.location, source.options).exists()


def test_parquet_with_paths(tmp_path: Path) -> None:
    columns = {
        "image_path": ["a.jpg"],
        "price": [Decimal("12.50")],
        "when": [dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)],
        "day": [dt.date(2024, 5, 6)],
        "tags": [["red", "big"]],
        "nan": [float("nan")],
        "none": pa.array([None], pa.string()),
        "new": [True],
        "embedding": [np.zeros(4, np.float32)],
        "raw": [b"123"],
        "colour": pa.array(["red"]).dictionary_encode(),
        "id": [12.0],
    }
    (item,) = found(parquet(tmp_path, columns, id_column="id"))
    assert item.locator == b"12"
    assert item.metadata == {
        "price": 12.5,
        "when": "2024-05-06T07:08:09+00:00",
        "day": "2024-05-06",
        "tags": "red, big",
        "new": True,
        "colour": "red",
    }


def test_parquet_with_nanoseconds(tmp_path: Path) -> None:
    stamps = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))
    (item,) = found(parquet(tmp_path, {"image": ["a.jpg"], "t": stamps}))
    assert item.metadata == {"t": "2023-11-14T22:13:20.123456"}


def test_parquet_with_bytes(tmp_path: Path) -> None:
    source = parquet(tmp_path, {"image": [JPEG, None, b""], "texts": [["one", "two"], [], []]}, text_column="texts")
    good, empty, _ = source.scan()
    container = (tmp_path / "shop.parquet").stat()
    assert (good.locator, good.size, good.mtime_ns) == (b"1", len(JPEG), container.st_mtime_ns)
    assert (good.path, good.text) == (f"{tmp_path}/shop.parquet::1", "one; two")
    assert good.read(Limits()) == JPEG
    with pytest.raises(PictureError, match="limit is 5"):
        good.read(Limits(max_bytes=5))
    assert reasons(source) == [None, "no-picture", "no-picture"]
    assert (empty.locator, empty.path) == (b"2", f"{tmp_path}/shop.parquet::2")


def test_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    rows = [{"bytes": JPEG, "path": "x.jpg"}, {"bytes": None, "path": "a.jpg"}, {"bytes": None, "path": None}, None]
    source = parquet(tmp_path, {"image": rows, "label": [3, 4, 5, 6]})
    assert reasons(source) == [None, None, "no-picture", "no-picture"]
    held, path, *_ = source.scan()
    assert held.read(Limits()) == path.read(Limits()) == JPEG
    assert (held.locator, path.locator, held.metadata) == (b"1", b"a.jpg", {"label": 3})


def test_stamp_only_when_nothing_outside_matters(tmp_path: Path) -> None:
    status = os.stat_result
    assert table(tmp_path, "image\na.jpg\n").stamp() is None
    assert parquet(tmp_path, {"image": ["a.jpg"]}).stamp() is None
    assert parquet(tmp_path, {"image": [JPEG, None]}).stamp() is None
    rows = [{"bytes": JPEG, "path": "x.jpg"}, {"bytes": None, "path": "a.jpg"}]
    assert parquet(tmp_path, {"image": rows}).stamp() is None
    for good in ({"image": [JPEG]}, {"image": rows[:1]}):
        source = parquet(tmp_path, good)
        status = (tmp_path / "shop.parquet").stat()
        assert source.stamp() == (status.st_size, status.st_mtime_ns)


def test_a_damaged_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(SourceError, match=r"x\.parquet cannot be read as Parquet \(.*\); write the table again$"):
        open_source(str(tmp_path / "x.parquet"), SourceOptions())


def test_parquet_is_read_in_small_batches(tmp_path: Path) -> None:
    source = parquet(tmp_path, {"image": [os.urandom(20_000) for _ in range(1000)]})
    pool = pa.default_memory_pool()
    before, peak = pool.bytes_allocated(), 0
    for item in source.scan():
        peak = max(peak, pool.bytes_allocated() - before)
        assert item.size == 20_000
    assert peak < 8_000_000
