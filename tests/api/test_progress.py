"""What long work says while it works, and where settings come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.progress import Show
from api.settings import default_library, read_settings
from indexer.pipeline import Progress


def play(show: Show) -> None:
    with show:
        show.started("pictures")
        show(Progress("scan", 0, None))
        for done in (0, 50, 100):
            show(Progress("embed", done, 100))


def test_a_log_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    play(Show())
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0] == "pictures: scanning"
    assert told.err.splitlines()[-1].startswith("100 of 100 pictures, ")


def test_a_program_gets_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    play(Show(as_json=True))
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["done"], last["total"], last["eta_s"]) == (100, 100, 0)


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    play(Show())
    assert capsys.readouterr().out == ""


def test_the_environment_sets_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIPTYCH_LIBRARY", str(tmp_path))
    monkeypatch.setenv("DIPTYCH_MODEL", "best")
    monkeypatch.setenv("DIPTYCH_DEVICE", "")
    settings = read_settings()
    assert (settings.library, settings.model, settings.device) == (tmp_path, "best", None)
    monkeypatch.delenv("DIPTYCH_LIBRARY")
    assert read_settings().library == default_library()
