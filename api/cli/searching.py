"""The search command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import AsJson, Device, LibraryPath, Precision, library_path, print_json, say, table
from api.settings import read_settings

if TYPE_CHECKING:
    from search.results import Answer, Hit


def search(
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TERM]...",
            help='Words, pictures, URLs or id:123, joined by + and -, with weights: "2:sofa" + chair.jpg - leather',
        ),
    ] = None,
    library: LibraryPath = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="A picture (path or URL) to search by; repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, max=10_000, help="Number of hits.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Number of hits to skip.")] = 0,
    where: Annotated[str | None, typer.Option(help="Filter over metadata: \"price < 500 and colour = 'red'\".")] = None,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Fold near-duplicates into one hit.")] = True,
    group: Annotated[bool, typer.Option("--group/--no-group", help="One hit a product.")] = True,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (.jpg, .png, .webp).")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Make a contact sheet and show it.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let picture URLs lead into private and loopback networks.")
    ] = False,
    device: Device = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Search by words, by picture, or by both.

    Examples: diptych search "red leather sofa" -k 5; diptych search --image chair.jpg;
    diptych search "2:sofa" + chair.jpg - leather --where "price < 500"
    """
    from api.wiring import Wiring, fetcher, open_library
    from search.engine import search as ask
    from search.terms import Query, parse, picture
    from search.where import parse as parse_where

    asked = parse(terms) if terms else ()
    asked += tuple(picture(name) for name in image or ())
    condition = parse_where(where) if where else None
    query = Query(asked, condition, k=k, offset=offset, fold=fold, group=group)
    if sheet is not None and not sheet.resolve().parent.is_dir():
        raise typer.BadParameter(f"the folder {sheet.parent} does not exist; make it, or write the sheet elsewhere")
    settings = read_settings()
    with open_library(library_path(library)) as opened:
        fetch = fetcher(allow_private=allow_private)
        wiring = Wiring(opened, None, device or settings.device, precision or settings.precision, say=say)
        answer = ask(opened, wiring.encoder, query, fetch=fetch)
        for note in answer.notes:
            say(f"Note: {note}")
        if as_json:
            print_json(answer.to_json())
        else:
            _print(answer, offset)
        if sheet or open_:
            from api.sheets import sheet_of

            path = sheet or _temporary()
            sheet_of(opened, [answer], path, fetch=fetch)
            say(f"Contact sheet: {path}")
            if open_:
                typer.launch(str(path))


def _print(answer: Answer, offset: int) -> None:
    """A neat table on a terminal; on a pipe a hit a line: score, id, path, text, separated by tabs."""
    if not sys.stdout.isatty():
        for hit in answer.hits:
            print(f"{hit.score:.4f}\t{hit.id}\t{hit.path}\t{hit.text}")
        return
    if not answer.hits:
        say("Nothing to show: no item passes the filter." if answer.query.filter else "The library holds nothing yet.")
        return
    rows = [
        [str(offset + rank), f"{hit.score:.3f}", f"id:{hit.id}", hit.path, _about(hit)]
        for rank, hit in enumerate(answer.hits, 1)
    ]
    table(rows, ["#", "score", "item", "picture", "about"])
    say(f"Verdict: {answer.verdict.verdict} ({'; '.join(answer.verdict.reasons)}).")


def _about(hit: Hit) -> str:
    more = [hit.text] if hit.text else []
    more += [f"{key}: {value}" for key, value in list(hit.metadata.items())[:3] if value != hit.text]
    if hit.duplicates:
        more.append(f"+{len(hit.duplicates)} near-duplicate{'s' if len(hit.duplicates) > 1 else ''}")
    if hit.others:
        more.append(f"+{len(hit.others)} of {hit.product}")
    return ", ".join(more)


def _temporary() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="diptych-")) / "hits.jpg"
