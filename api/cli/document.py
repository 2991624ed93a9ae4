"""Writes docs/cli.md from the commands' own help, so that the two cannot differ (a test compares them)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.testing import CliRunner

from api.cli import app

WIDTH = "100"


def document() -> str:
    """Every command with every option, as Markdown."""
    parts = ["# The command line", "", "Written by `make docs` from each command's `--help`.", ""]
    for words in command_names():
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="diptych", env={"COLUMNS": WIDTH})
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts += [f"## {' '.join(('diptych', *words))}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def command_names() -> Iterator[tuple[str, ...]]:
    """Every command as the words after ``diptych``; the first is the program itself."""
    return _below(typer.main.get_command(app), ())


def _below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for child, below in getattr(command, "commands", {}).items():
        yield from _below(below, (*words, child))


if __name__ == "__main__":
    sys.stdout.write(document())
