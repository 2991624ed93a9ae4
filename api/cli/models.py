"""The models commands: what can embed, what is on disk, and fetching more."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import AsJson, print_json, say, table

if TYPE_CHECKING:
    from indexer.models import ModelFacts

app = typer.Typer(help="List, describe and fetch models.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="A preset, ARCH/TAG, hf-hub:NAME or local-dir:PATH.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recommended models. Any other open_clip model works by its name too."""
    from indexer.models import list_models

    found = list_models()
    if as_json:
        print_json({"models": [_plain(model) for model in found]})
        return
    rows = [
        [m.name, m.spec, "yes" if m.on_disk else "no", _size(m.size_bytes), str(m.dim), m.licence, m.description]
        for m in found
    ]
    table(rows, ["name", "model", "on disk", "size", "dim", "licence", "what for"])


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Describe one model: its size, licence, preprocessing, and whether it is on disk."""
    from indexer.models import show_model

    facts = _plain(show_model(name))
    if as_json:
        print_json(facts)
        return
    table([[key.replace("_", " "), "-" if value is None else str(value)] for key, value in facts.items()])


@app.command()
def pull(name: Name) -> None:
    """Fetch a model's weights, so that it works without network from then on."""
    from indexer.models import pull_model

    told: set[str] = set()

    def progress(file: str, _done: int, total: int) -> None:
        if file not in told and total:
            told.add(file)
            say(f"Fetching {file or 'weights'} ({_size(total)})")

    facts = pull_model(name, progress)
    say(f"{name} is on disk: {facts.path}")


def _plain(model: ModelFacts) -> dict[str, Any]:
    return {**asdict(model), "path": str(model.path) if model.path else None, "on_disk": model.on_disk}


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:,.0f} MB"
