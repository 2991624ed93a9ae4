"""Contact sheets: what is on them, seen in their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api.sheet import MARGIN, SheetError, SheetHit, SheetRow, _lines, contact_sheet
from indexer.errors import PictureError

RED, BLUE = (220, 30, 30), (30, 60, 210)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (60, 30)) -> Callable[[], Image.Image]:
    return lambda: Image.new("RGB", size, colour)


def lost() -> Image.Image:
    raise PictureError("vanished", "/shop/chair.jpg is gone", "index the folder again")


def count(sheet: Path, colour: tuple[int, int, int]) -> int:
    with Image.open(sheet) as image:
        return int((np.abs(np.asarray(image.convert("RGB"), int) - colour).max(axis=2) < 12).sum())


def hits(number: int) -> list[SheetHit]:
    return [SheetHit(plain(RED), 0.3, "a caption") for _ in range(number)]


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "PNG"), (".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")])
def test_the_suffix_decides_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    out = tmp_path / f"sheet{suffix}"
    assert contact_sheet([SheetRow("sofa", hits(2))], out) == out
    with Image.open(out) as image:
        assert image.format == kind
    assert list(tmp_path.iterdir()) == [out]


def test_pictures_are_letterboxed_on_white(tmp_path: Path) -> None:
    out = contact_sheet([SheetRow("sofa", [SheetHit(plain(RED), 0.3)])], tmp_path / "s.png", side=100, columns=1)
    assert count(out, RED) == pytest.approx(100 * 50, abs=250)  # less the frame at both ends


def test_query_pictures_stand_in_the_header(tmp_path: Path) -> None:
    out = contact_sheet([SheetRow("like this", hits(1), [plain(BLUE)])], tmp_path / "s.png")
    assert count(out, BLUE) == pytest.approx(92 * 46, abs=250)


def test_what_cannot_be_read_leaves_its_reason(tmp_path: Path) -> None:
    row = SheetRow("sofa", [SheetHit(lost, 0.3), SheetHit(plain(RED), 0.2)], [lost])
    out = contact_sheet([row], tmp_path / "s.png", side=100, columns=2)
    with Image.open(out) as image:
        cell = np.asarray(image.convert("L"))[190:260, MARGIN + 2 : MARGIN + 98]
    assert (cell < 160).sum() > 50  # there is writing in it
    assert count(out, RED) == pytest.approx(100 * 50, abs=250)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    out = contact_sheet([SheetRow("", [SheetHit(lambda: clear, 0.3)])], tmp_path / "s.png", columns=1)
    with Image.open(out) as image:
        assert np.asarray(image.convert("L"))[150:200, MARGIN + 10 : MARGIN + 100].min() == 255


def test_every_row_has_its_place(tmp_path: Path) -> None:
    rows = [SheetRow("one", hits(3)), SheetRow("nothing", []), SheetRow("two", hits(9), note="weak")]
    out = contact_sheet(rows, tmp_path / "s.png", side=80, title="Ten queries")
    assert count(out, RED) == pytest.approx(12 * 80 * 40, rel=0.06)


def test_many_hits_make_a_wider_sheet_and_the_rest_is_named(tmp_path: Path) -> None:
    out = contact_sheet([SheetRow("all", hits(1_005))], tmp_path / "s.png", side=10)
    assert count(out, RED) == pytest.approx(1_000 * 10 * 5, rel=0.5)
    with Image.open(out) as image:
        assert image.width > 32 * 10


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match=r"^a contact sheet cannot be written as s\.pdf; end its name in \.jpg, \.png"):
        contact_sheet([SheetRow("sofa", hits(1))], tmp_path / "s.pdf")
    with pytest.raises(SheetError, match=r"^there is nothing to put on the contact sheet"):
        contact_sheet([], tmp_path / "s.png")
    with pytest.raises(SheetError, match=r"pixels and WEBP holds 16000 a side; show fewer hits or smaller thumbnails$"):
        contact_sheet([SheetRow("sofa", hits(100))], tmp_path / "s.webp", columns=1)
    assert list(tmp_path.iterdir()) == []


def test_text_is_wrapped_cut_and_written_in_letters_the_font_has() -> None:
    assert _lines("a caption", 200, most=2) == ["a caption"]
    wrapped = _lines("a caption of many words that do not fit", 90, most=2)
    assert len(wrapped) == 2
    assert wrapped[1].endswith("…")
    assert "".join(_lines("x" * 100, 90, most=99)) == "x" * 100
    assert _lines("", 90, most=2) == []
    assert _lines("é–ß\n価\udcff e\u0301 5€", 400, most=1) == ["e-ss ?? e 5EUR"]
