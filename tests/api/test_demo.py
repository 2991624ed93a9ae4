"""The demonstration, with the real bundled encoder, from pictures to contact sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from api import demo


@pytest.mark.slow
def test_the_demo_runs_and_finds_what_it_drew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = demo.draw_pictures(tmp_path / "pictures")
    demo.run(folder, tmp_path / "library", tmp_path / "sheet.jpg", ("a ball",))
    told = capsys.readouterr().out
    assert "32 pictures indexed" in told
    alike = next(line for line in told.splitlines() if line.startswith("  id:1 "))
    assert alike.count("-ball.png") == 3  # item 1 is a ball, and so are the three nearest
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 800
