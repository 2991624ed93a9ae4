"""What is installed is whole: an installed wheel works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = {
    "indexer/compact/open_clip_config.json",
    "indexer/compact/open_clip_model.safetensors",
    "indexer/catalog/migrations/env.py",
    "indexer/catalog/migrations/script.py.mako",
    "indexer/catalog/migrations/versions/0001_first.py",
    "search/where.lark",
    "indexer/py.typed",
}


@pytest.mark.slow
def test_the_wheel_holds_all_that_is_needed_and_no_more(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="the wheel is built without isolation, so that no network is needed")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(tmp_path)]
    copy = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, tracked):
        place = copy / name.decode()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name.decode()).read_bytes())
    subprocess.run([*build, str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= NEEDED
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"api", "generator", "indexer", "search"}
