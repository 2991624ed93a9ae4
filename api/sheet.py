"""A contact sheet: what was asked and what was found, as one picture to look at.

Knows how to lay pictures out on white; where they come from is the caller's: each comes with a function that reads it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from indexer.errors import IndexerError

Read = Callable[[], Image.Image]

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
MAX_CELLS = 1_000  # on one sheet; more would be neither legible nor small
MAX_SIDE = {"JPEG": 65_000, "PNG": 65_000, "WEBP": 16_000}  # pixels; what the formats can hold, rounded down
UNREADABLE = (IndexerError, OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what reading may raise

MARGIN, GUTTER = 28, 16  # pixels
SPELT = {"ß": "ss", "–": "-", "—": "-", "€": "EUR ", "£": "GBP ", "×": "x", "æ": "ae", "ø": "o", "ł": "l", "œ": "oe"}
INK, SOFT, LINE, GROUND = "#1c1c1e", "#6b6b70", "#e3e3e6", "#f4f4f5"


class SheetError(ValueError):
    """The sheet cannot be made as asked; one sentence."""


@dataclass(frozen=True, slots=True)
class SheetHit:
    """One picture found. ``read`` gives it, or raises an error whose text is shown in its place."""

    read: Read
    score: float
    caption: str = ""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One question and its answer: the words asked, the pictures asked with, the hits best first, and a remark."""

    words: str
    hits: Sequence[SheetHit]
    pictures: Sequence[Read] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Layout:
    columns: int
    side: int  # of a thumbnail, pixels

    @property
    def width(self) -> int:
        return 2 * MARGIN + self.columns * self.side + (self.columns - 1) * GUTTER

    @property
    def cell(self) -> int:
        return self.side + 54 + GUTTER  # thumbnail, score, two lines of caption

    def header(self, row: SheetRow) -> int:
        return (112 if row.pictures else 40) + (24 if row.note or not row.hits else 0)

    def height(self, row: SheetRow) -> int:
        return self.header(row) + 14 + ceil(len(row.hits) / self.columns) * self.cell


def contact_sheet(
    rows: Sequence[SheetRow], out: Path, *, columns: int | None = None, side: int = 220, title: str = ""
) -> Path:
    """Write a sheet with a row for each question to ``out``: JPEG, PNG or WebP by its suffix. Returns ``out``.

    ``columns`` follows the number of hits unless given; ``side`` is that of a thumbnail in pixels. Raises SheetError
    for another suffix, nothing to show, or a sheet larger than the format can hold; OSError when it cannot be written.
    """
    kind = FORMATS.get(out.suffix.lower())
    if kind is None:
        raise SheetError(f"a contact sheet cannot be written as {out.name}; end its name in .jpg, .png or .webp")
    if not rows:
        raise SheetError("there is nothing to put on the contact sheet; give at least one query")
    rows = [_shortened(row) for row in rows]
    layout = _Layout(columns or _columns(rows), side)
    top = MARGIN + (44 if title else 0)
    height = top + sum(layout.height(row) for row in rows) + MARGIN
    if max(layout.width, height) > MAX_SIDE[kind]:
        raise SheetError(
            f"the contact sheet would be {layout.width} x {height} pixels and {kind} holds {MAX_SIDE[kind]} a side; "
            "show fewer hits or smaller thumbnails"
        )
    sheet = Image.new("RGB", (layout.width, height), "white")
    if title:
        _write(sheet, (MARGIN, MARGIN), title, size=26, width=layout.width - 2 * MARGIN)
    for row in rows:
        _draw_row(sheet, layout, row, top)
        top += layout.height(row)
    draft = out.with_name(f".{out.name}.part")  # a sheet that is watched or open is never half written
    sheet.save(draft, kind, quality=88)
    draft.replace(out)
    return out


def _shortened(row: SheetRow) -> SheetRow:
    if len(row.hits) <= MAX_CELLS:
        return row
    note = f"the best {MAX_CELLS} of {len(row.hits)} are shown; {row.note}".rstrip("; ")
    return SheetRow(row.words, row.hits[:MAX_CELLS], row.pictures, note)


def _columns(rows: Sequence[SheetRow]) -> int:
    most = max(len(row.hits) for row in rows)
    return max(4, min(most, 6)) if most <= 12 else max(6, ceil(sqrt(most)))


def _draw_row(sheet: Image.Image, layout: _Layout, row: SheetRow, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.line([(MARGIN, top), (layout.width - MARGIN, top)], fill=LINE)
    left, middle = MARGIN, top + 8
    for read in row.pictures:
        _place(sheet, read, (left, top + 10), 92)
        left, middle = left + 92 + 12, top + 40
    _write(sheet, (left, middle), row.words, size=20, width=layout.width - left - MARGIN)
    remark = "; ".join(part for part in (row.note, "" if row.hits else "nothing found") if part)
    if remark:
        below = top + layout.header(row) - 26
        _write(sheet, (MARGIN, below), remark, size=14, width=layout.width - 2 * MARGIN, fill=SOFT)
    for at, hit in enumerate(row.hits):
        line, column = divmod(at, layout.columns)
        corner = (MARGIN + column * (layout.side + GUTTER), top + layout.header(row) + 14 + line * layout.cell)
        _draw_hit(sheet, layout, hit, at + 1, corner)


def _draw_hit(sheet: Image.Image, layout: _Layout, hit: SheetHit, rank: int, corner: tuple[int, int]) -> None:
    left, top = corner
    _place(sheet, hit.read, corner, layout.side)
    below = top + layout.side + 4
    score = f"{hit.score:.3f}"
    _write(sheet, (left, below), f"{rank}", size=14, width=layout.side)
    _write(
        sheet,
        (left + layout.side - int(_font(14).getlength(score)), below),
        score,
        size=14,
        width=layout.side,
        fill=SOFT,
    )
    for at, line in enumerate(_lines(hit.caption, layout.side, most=2)):
        _write(sheet, (left, below + 18 + 15 * at), line, size=12, width=layout.side, fill=SOFT)


def _place(sheet: Image.Image, read: Read, corner: tuple[int, int], side: int) -> None:
    """A picture letterboxed into a square, or the reason why there is none."""
    left, top = corner
    try:
        picture = ImageOps.contain(_on_white(read()), (side, side), Image.Resampling.LANCZOS)
    except UNREADABLE as error:
        draw = ImageDraw.Draw(sheet)
        draw.rectangle([left, top, left + side - 1, top + side - 1], fill=GROUND, outline=LINE)
        reason = str(error) or type(error).__name__
        lines = _lines(reason, side - 16, most=max(1, (side - 16) // 15))
        for at, line in enumerate(lines):
            height = top + (side - 15 * len(lines)) // 2 + 15 * at
            _write(sheet, (left + 8, height), line, size=12, width=side - 16, fill=SOFT)
        return
    sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
    ImageDraw.Draw(sheet).rectangle([left, top, left + side - 1, top + side - 1], outline=LINE)


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


def _write(sheet: Image.Image, at: tuple[int, int], text: str, *, size: int, width: int, fill: str = INK) -> None:
    line = (_lines(text, width, most=1, size=size) or [""])[0]
    ImageDraw.Draw(sheet).text(at, line, fill=fill, font=_font(size))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@cache
def _shown(char: str) -> str:
    """A character as Pillow's own font can write it; it has no accents, and there is no font file to carry about."""
    if char.isascii():
        return char if char.isprintable() else " "
    if char in SPELT:
        return SPELT[char]
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return char if char in "…«»°±´·‘’“”‹›™©" else plain or ("" if unicodedata.combining(char) else "?")


def _lines(text: str, width: int, *, most: int, size: int = 12) -> list[str]:
    """Text in at most so many lines that fit the width; long words are cut, and an ellipsis stands for what is left."""
    font = _font(size)
    words = "".join(map(_shown, text[:2_000])).split()
    lines: list[str] = []
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        if font.getlength(line) > width:
            fits = max(n for n in range(len(line) + 1) if n == 0 or font.getlength(line[:n]) <= width)
            words.insert(0, line[max(fits, 1) :])
            line = line[: max(fits, 1)]
        lines.append(line)
    if words and lines:
        last = lines[-1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        lines[-1] = f"{last}…"
    return lines
