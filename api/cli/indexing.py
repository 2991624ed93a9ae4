"""Commands that write: index, rm, reindex."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import AsJson, Device, LibraryPath, Model, Precision, library_path, print_json, say, stoppable
from api.progress import Show
from api.settings import read_settings

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.pipeline import Tally

Column = Annotated[str | None, typer.Option(metavar="NAME")]


def index(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Folder, table (.csv .tsv .parquet), WebDataset .tar, or folder of precomputed embeddings. "
            "Without any, everything indexed before is brought up to date.",
        ),
    ] = None,
    library: LibraryPath = None,
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    letterbox: Annotated[
        bool, typer.Option("--letterbox", help="Fit whole pictures with a margin instead of cropping (new library).")
    ] = False,
    image_column: Annotated[str | None, typer.Option(help="Table column with a path, a URL or picture bytes.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Table column that identifies a row.")] = None,
    product_column: Annotated[str | None, typer.Option(help="Table column that groups pictures of a product.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Table column with a title or caption.")] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Take files and folders whose name begins with a dot.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove items even if their whole source is missing or suddenly empty.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry-failures", help="Try what failed before, changed or not.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let picture URLs lead into private and loopback networks.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Pictures embedded and committed together.")] = 64,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Threads that decode [default: cores].")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Largest picture, in pixels [default: 100 million].")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Largest file, in bytes [default: 256 MiB].")] = None,
    index_kind: Annotated[
        str | None,
        typer.Option("--index", help="auto, flat, hnsw32, ivf4096,sq8...: kind of vector index, remembered."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and keep folders in step until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make pictures searchable: new and changed ones are embedded, the rest costs one look at the file.

    Interrupt it at any time: what is committed stays, and the same command goes on from there.
    """
    from api.wiring import Wiring, open_library
    from indexer.images import Limits
    from indexer.pipeline import Options, Session
    from indexer.pipeline.watch import watch_folders
    from indexer.sources import SourceOptions, open_source

    settings = read_settings()
    told = SourceOptions(
        image_column=image_column, id_column=id_column, product_column=product_column, text_column=text_column,
        hidden=hidden, allow_private=allow_private,
    )  # fmt: skip
    origins = [open_source(source, told) for source in sources or []]
    caps = Limits(**{k: v for k, v in (("max_pixels", max_pixels), ("max_bytes", max_bytes)) if v is not None})
    options = Options(batch=batch_size, workers=workers or os.cpu_count() or 1, limits=caps, prune=prune, retry=retry)
    with open_library(library_path(library), create=bool(origins)) as opened:
        fresh = opened.active_encoder() is None
        wiring = Wiring(
            opened, model or (settings.model if fresh else None), device or settings.device,
            precision or settings.precision, letterbox or None, say,
        )  # fmt: skip
        if index_kind is not None:
            _remember_kind(opened, index_kind)
        with stoppable("Go on later with the same command.") as stop, Show(as_json=as_json) as show:
            session = Session(opened, lambda: wiring.encoder, options, stop, show, show.started)
            if model is not None:
                session.check_encoder()
            tally = session.index(origins)
            tell(opened, tally, as_json=as_json)
            if watch and not stop.is_set():
                session.report = lambda _progress: None
                session.started = lambda _location: None
                watch_folders(session, stop, lambda t: tell(opened, t, as_json=as_json), say)
    if tally.interrupted:
        raise typer.Exit(130)


def _remember_kind(library: Library, kind: str) -> None:
    from indexer.vectors import parse_kind

    parse_kind(kind, dim=512)  # refuses a word that is no kind
    with library.writer(), library.catalog.write() as writer:
        writer.set_meta("index_kind", kind)


def tell(library: Library, tally: Tally, *, as_json: bool) -> None:
    """Sum up a run, with what could not be indexed and why."""
    with library.catalog.read() as reader:
        items, failures = reader.count_items(), reader.failures()
    if as_json:
        listed = [{"path": f.path, "reason": f.reason, "message": f.message, "remedy": f.remedy} for f in failures]
        print_json({**asdict(tally), "items": items, "failures": listed, "library": str(library.path)})
        return
    words = {
        "embedded": tally.embedded, "copied": tally.copied, "moved": tally.moved, "updated": tally.updated,
        "removed": tally.removed, "unchanged": tally.unchanged, "failed": tally.failed,
    }  # fmt: skip
    counts = ", ".join(f"{n:,} {word}" for word, n in words.items() if n) or "nothing to do"
    say(f"{items:,} items in {library.path}: {counts}.")
    for note in tally.notes:
        say(f"Note: {note}.")
    if tally.interrupted:
        say("Stopped early; run the same command again to go on.")
    shown = failures[:20]
    if shown and (tally.failed or tally.failing):
        say(f"{len(failures):,} could not be indexed:")
        for failure in shown:
            say(f"  {failure.path}: {failure.message}; {failure.remedy}.")
        if len(failures) > len(shown):
            say(f"  ... and {len(failures) - len(shown):,} more: `diptych status --failures`.")


def rm(
    what: Annotated[
        list[str],
        typer.Argument(metavar="WHAT...", help="id:123 for an item, or a source as `diptych status` shows it."),
    ],
    library: LibraryPath = None,
    as_json: AsJson = False,
) -> None:
    """Forget items or whole sources. Pictures on disk are never touched.

    An item whose picture is still in its source comes back with the next `diptych index`.
    """
    from api.wiring import open_library
    from indexer.pipeline import remove

    with open_library(library_path(library)) as opened:
        removed = remove(opened, what)
    if as_json:
        print_json({"removed": removed})
    else:
        say(f"{removed:,} items removed.")


def reindex(
    library: LibraryPath = None,
    model: Model = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Answer with the previous model again; a second time, with this one.")
    ] = False,
    device: Device = None,
    precision: Precision = None,
    letterbox: Annotated[bool, typer.Option("--letterbox", help="Fit whole pictures with a margin.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Pictures embedded and committed together.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Change the model: embed everything again beside the live vectors, then switch at once.

    Searches are answered by the old model until the switch; `--rollback` goes back to it.
    """
    from api.wiring import Wiring, open_library
    from indexer.pipeline import Options, Session
    from indexer.pipeline import rollback as go_back

    if rollback == (model is not None):
        raise typer.BadParameter("give either --model NAME or --rollback")
    with open_library(library_path(library)) as opened:
        if rollback:
            encoder, missing = go_back(opened)
            left = f"; {missing:,} items have no vector of it yet: run `diptych index`" if missing else ""
            print_json({"model": encoder.spec, "missing": missing}) if as_json else say(
                f"{encoder.spec} answers{left}."
            )
            return
        wiring = Wiring(opened, model, device, precision, letterbox or None, say)
        with stoppable("Go on later with the same command.") as stop, Show(as_json=as_json) as show:
            session = Session(opened, lambda: wiring.encoder, Options(batch=batch_size), stop, show, show.started)
            tally = session.reindex()
        tell(opened, tally, as_json=as_json)
        if not tally.interrupted and not as_json:
            say(f"{wiring.encoder.spec} answers from now on; `diptych reindex --rollback` goes back.")
    if tally.interrupted:
        raise typer.Exit(130)
