"""Contact sheets of answers: gets the pictures from where the library found them and has them laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from api.sheet import Read, SheetHit, SheetRow, contact_sheet
from indexer.errors import PictureError
from indexer.images import Limits, decode, open_picture
from indexer.library import Library
from indexer.upkeep.originals import read_originals

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.results import Answer
    from search.terms import Term

THUMBNAIL = 256  # pixels; lets large JPEGs be decoded small


def sheet_of(
    library: Library,
    answers: Sequence[Answer],
    out: Path,
    *,
    title: str = "",
    fetch: Callable[[str], bytes] | None = None,
) -> Path:
    """Write a contact sheet with a row for each answer. Raises SheetError, OSError."""
    asked = [int(term.value) for a in answers for term in a.query.terms if isinstance(term.value, int)]
    originals = read_originals(library, [hit.id for answer in answers for hit in answer.hits] + asked)

    def row(answer: Answer) -> SheetRow:
        words = " ".join(_signed(term, at) for at, term in enumerate(answer.query.terms))
        pictures = [_of_term(term, originals, fetch) for term in answer.query.terms if term.kind in {"image", "item"}]
        hits = [SheetHit(_of(originals[hit.id]), hit.score, hit.text or Path(hit.path).name) for hit in answer.hits]
        return SheetRow(words, hits, pictures, "; ".join(answer.notes))

    return contact_sheet([row(answer) for answer in answers], out, title=title)


def _signed(term: Term, at: int) -> str:
    label = Path(term.label).name if term.kind == "image" else term.label
    weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g}:"
    sign = "- " if term.weight < 0 else "+ " if at else ""
    return f"{sign}{weight}{label}"


def _of(data: bytes | PictureError) -> Read:
    def read() -> Image:
        if isinstance(data, PictureError):
            raise data
        return decode(data, Limits(), at_least=THUMBNAIL).image

    return read


def _of_term(term: Term, originals: dict[int, bytes | PictureError], fetch: Callable[[str], bytes] | None) -> Read:
    if isinstance(term.value, int):
        return _of(originals[term.value])

    def read() -> Image:
        value = term.value
        if isinstance(value, str) and fetch is not None:
            value = fetch(value)
        return open_picture(value)  # type: ignore[arg-type]  # an image's value is a path, a URL or bytes

    return read
