"""Help is instant, and the docs list every command and option."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.cli.document import command_names, document

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "faiss", "open_clip", "diffusers", "transformers", "sqlalchemy", "pyarrow", "PIL", "lark")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = "import json, sys, api.cli; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(HEAVY) & set(json.loads(ran.stdout)) == set()


def test_the_docs_are_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == document(), "run `make docs`"


@pytest.mark.parametrize("words", list(command_names()), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "-h"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 3


def test_completion_can_be_shown() -> None:
    assert "--show-completion" in document()
