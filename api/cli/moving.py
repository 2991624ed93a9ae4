"""Commands that carry vectors and libraries elsewhere: embed, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import AsJson, Device, LibraryPath, Model, Precision, library_path, print_json, say, stoppable
from api.progress import Show
from api.settings import read_settings


def embed(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Pictures: a folder, a table or a WebDataset .tar."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to (new or empty).")] = Path("embeddings"),
    texts: Annotated[
        Path | None, typer.Option("--texts", help="File with one text a line, to embed texts instead.")
    ] = None,
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    image_column: Annotated[str | None, typer.Option(help="Table column with a path, a URL or picture bytes.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Table column with a title or caption.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Pictures embedded together.")] = 64,
    shard_size: Annotated[int, typer.Option(min=1, help="Rows a file.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Embed pictures or texts into .npy and Parquet files, in clip-retrieval's layout; no library is touched.

    Pictures go to img_emb/, texts to text_emb/, what is known about them to metadata/.
    """
    from indexer.encoder import load_encoder
    from indexer.sources import SourceOptions, open_source
    from indexer.upkeep.embed import embed_pictures, embed_texts

    if (texts is None) == (not sources):
        raise typer.BadParameter("give either SOURCEs or --texts FILE")
    settings = read_settings()
    origins = [open_source(s, SourceOptions(image_column=image_column, text_column=text_column)) for s in sources or []]
    encoder = load_encoder(
        model or settings.model or "auto", device=device or settings.device, precision=precision or settings.precision
    )
    say(encoder.note)
    with stoppable("What is written so far is whole.") as stop, Show("rows", as_json=as_json) as show:
        if texts is not None:
            done = embed_texts(texts, encoder, out, shard_size, stop, show)
        else:
            done = embed_pictures(origins, encoder, out, shard_size, stop, show, batch=batch_size)
    if as_json:
        print_json(done)
    else:
        say(f"{done['embedded']:,} embedded into {out}, {done['failed']:,} could not be read.")
    if stop.is_set():
        raise typer.Exit(130)


def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="New or empty folder to write to.")],
    library: LibraryPath = None,
    as_json: AsJson = False,
) -> None:
    """Write a whole library as Parquet: items, vectors, failures; everything but the pictures."""
    from api.wiring import open_library
    from indexer.pipeline import Progress
    from indexer.upkeep.transfer import export_library

    with open_library(library_path(library)) as opened, Show("items", as_json=as_json) as show:
        show.started(str(out))
        items = export_library(opened, out, lambda done, total: show(Progress("export", done, total)))
    print_json({"items": items, "folder": str(out)}) if as_json else say(f"{items:,} items exported to {out}.")


def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An export.")],
    library: LibraryPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a new library from an export."""
    from indexer.upkeep.transfer import import_library

    target = library_path(library)
    items = import_library(folder, target)
    print_json({"items": items, "library": str(target)}) if as_json else say(f"{items:,} items imported into {target}.")
