"""The demonstration, with the real bundled encoder, from pictures to contact sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from api import demo


@pytest.mark.slow
def test_the_demo_runs_and_finds_what_it_drew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = demo.draw_pictures(tmp_path / "pictures")
    demo.run(folder, tmp_path / "library", tmp_path / "sheet.jpg", ("a ball", "a table"))
    told = capsys.readouterr().out
    assert "32 pictures indexed" in told
    answers = {line.split()[1]: line.split()[2] for line in told.splitlines() if line.startswith("  a ")}
    assert answers["ball"].endswith("-ball.png")
    assert answers["table"].endswith("-table.png")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 800
