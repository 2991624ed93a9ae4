"""The demonstration behind `make demo`: index some pictures, ask a few questions, leave a contact sheet.

Without a folder it draws its own small set: furniture-like shapes in plain colours on white, just enough to see words
and pictures find each other.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from api.wiring import Wiring, open_library

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

COLOURS = {
    "red": "#c62828", "green": "#2e7d32", "blue": "#1565c0", "yellow": "#f9c22e", "black": "#212121",
    "brown": "#6d4c41", "pink": "#ec88b0", "grey": "#8d8d8d",
}  # fmt: skip
THINGS = ("chair", "table", "ball", "lamp")
QUESTIONS = ("something red", "a blue ball", "a green chair", "brown table")


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="pictures to use instead of the ones it draws")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where everything goes")
    told = parser.parse_args()
    folder = told.folder or draw_pictures(told.out / "pictures")
    library = told.out / "library"
    shutil.rmtree(library, ignore_errors=True)
    run(folder, library, told.out / "sheet.jpg", None if told.folder else QUESTIONS)


def run(folder: Path, library: Path, sheet: Path, questions: tuple[str, ...] | None) -> None:
    """Index ``folder``, ask words, a picture and both, and write a contact sheet of the answers."""
    from api.progress import Show
    from api.sheets import sheet_of
    from indexer.pipeline import Session
    from indexer.sources import open_source
    from search.engine import search
    from search.terms import Query, Term

    with open_library(library, create=True) as opened, Show() as show:
        wiring = Wiring(opened, "compact", say=print)
        tally = Session(opened, lambda: wiring.encoder, report=show, started=show.started).index(
            [open_source(str(folder))]
        )
        print(f"{tally.embedded} pictures indexed into {library}")
        first = int(opened.index().ids[0])
        words = questions or ("a picture taken outdoors", "something red", "a person")
        asked: list[tuple[Term, ...]] = [(Term("text", text),) for text in words]
        asked += [(Term("item", first),), (Term("item", first), Term("text", "blue", 2.0))]
        answers = [search(opened, wiring.encoder, Query(terms, k=6)) for terms in asked]
        for answer in answers:
            best = ", ".join(f"{Path(hit.path).name} {hit.score:.2f}" for hit in answer.hits[:3])
            print(f"  {' + '.join(term.label for term in answer.query.terms):<28} {best}")
        sheet_of(opened, answers, sheet, title="Diptych: words, a picture, and both")
    print(f'Look at {sheet}, then ask yourself: .venv/bin/diptych search "a red chair" --library {library}')


def draw_pictures(folder: Path) -> Path:
    """Draw the small set, 32 pictures of 192 px, as PNG files named for what they show."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    for colour, value in COLOURS.items():
        for thing in THINGS:
            picture = Image.new("RGB", (192, 192), "white")
            _draw(ImageDraw.Draw(picture), thing, value)
            picture.save(folder / f"{colour}-{thing}.png")
    return folder


def _draw(pen: ImageDraw, thing: str, colour: str) -> None:
    if thing == "ball":
        pen.ellipse((46, 46, 146, 146), fill=colour)
        pen.ellipse((70, 64, 94, 88), fill="white")
    elif thing == "table":
        pen.rectangle((24, 76, 168, 90), fill=colour)
        for left in (34, 148):
            pen.rectangle((left, 90, left + 10, 160), fill=colour)
    elif thing == "chair":
        pen.rectangle((56, 30, 68, 164), fill=colour)
        pen.rectangle((56, 92, 132, 106), fill=colour)
        pen.rectangle((122, 106, 132, 164), fill=colour)
        pen.rectangle((68, 30, 76, 92), fill=colour)
    else:
        pen.polygon(((66, 84), (126, 84), (108, 34), (84, 34)), fill=colour)
        pen.rectangle((93, 84, 99, 152), fill="#444444")
        pen.ellipse((68, 148, 124, 166), fill="#444444")


if __name__ == "__main__":
    main()
