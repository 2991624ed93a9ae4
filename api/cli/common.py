"""What the commands share: options, opening a library, saying things, and stopping politely."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from api.settings import read_settings

LibraryPath = Annotated[
    Path | None,
    typer.Option("--library", "-L", help="Folder of the library [env: DIPTYCH_LIBRARY; default: your data folder]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="compact, balanced, best, auto, ARCH/TAG, hf-hub:NAME or local-dir:PATH (see `diptych models list`).",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps [default: the best this machine has].")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16, fp16 [default: what this machine does well].")]


def library_path(given: Path | None) -> Path:
    """The library a command is about: ``--library``, else ``DIPTYCH_LIBRARY``, else the user's data folder."""
    return (given or read_settings().library).expanduser()


def say(sentence: str) -> None:
    """Tell a person something that is not part of the answer."""
    print(sentence, file=sys.stderr)


def print_json(answer: Any) -> None:
    """One JSON object on standard output. Names that are no UTF-8 come out escaped."""
    print(json.dumps(answer, indent=None if not sys.stdout.isatty() else 2, ensure_ascii=not _utf8(), default=str))


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


@contextmanager
def stoppable(hint: str) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        stop.set()
        say(f"\nStopping after the batch in flight. {hint} Press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def table(rows: list[list[str]], header: list[str] | None = None) -> None:
    """A neat table on a terminal; tab-separated lines on a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    neat = Table(show_header=header is not None, box=None, pad_edge=False)
    for name in header or rows[0] if rows else []:
        neat.add_column(name if header else "", overflow="fold")
    for row in rows:
        neat.add_row(*(Text(cell) for cell in row))
    Console().print(neat)
