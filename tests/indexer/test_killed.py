"""SIGKILL at any moment loses at most the batch in flight, and the next command just works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexer.errors import LibraryLocked
from indexer.library import Library
from indexer.upkeep.doctor import examine
from tests.fakes import FakeEncoder
from tests.worlds import contents, index, items, jpeg, write

KILLS = 50
PICTURES = 60
INDEXER = """
import sys
from pathlib import Path
from indexer.library import Library
from tests.worlds import index
from tests.fakes import FakeEncoder
print("ready", flush=True)
with Library.open(Path(sys.argv[1]), create=True) as library:
    index(library, Path(sys.argv[2]))
"""


def start(library: Path, folder: Path) -> subprocess.Popen[str]:
    """Begin to index in a process of its own; returns when its imports are done."""
    process = subprocess.Popen(
        [sys.executable, "-c", INDEXER, str(library), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def unsettle(folder: Path, chance: random.Random, round_: int) -> None:
    """Give the next run something of everything to do."""
    files = sorted(folder.rglob("*.jpg"))
    chance.shuffle(files)
    for path in files[:10]:
        path.unlink()
    for number, path in enumerate(files[10:20]):
        path.rename(path.with_name(f"moved-{round_}-{number}.jpg"))
    for number, path in enumerate(files[20:30]):
        write(path, jpeg(10_000 * round_ + number + 5_000))
    for number in range(PICTURES - len(list(folder.rglob("*.jpg")))):
        write(folder / f"new-{round_}-{number}.jpg", jpeg(10_000 * round_ + number))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    chance = random.Random(4)
    folder, home = tmp_path / "pictures", tmp_path / "library"
    folder.mkdir()
    unsettle(folder, chance, 0)
    process = start(home, folder)
    began = time.monotonic()
    assert process.wait(60) == 0
    process.stdout.close()  # type: ignore[union-attr]
    longest = time.monotonic() - began
    cut_short = 0
    for round_ in range(1, KILLS + 1):
        unsettle(folder, chance, round_)
        process = start(home, folder)
        time.sleep(chance.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        cut_short += killed
        longest *= 1.1 if killed else 0.8  # stay where the moments count, however quick the machine
        process.stdout.close()  # type: ignore[union-attr]
        with Library.open(home) as library:
            faults = {finding.code for finding in examine(library, FakeEncoder)} - {"out-of-step", "index-missing"}
            assert faults == set(), f"round {round_}: before resuming"
            index(library, folder)
            assert examine(library, FakeEncoder) == [], f"round {round_}: after resuming"
            assert [os.fsdecode(item.locator) for item in items(library)] == sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")
            )
    with Library.open(home) as library, Library.open(tmp_path / "fresh", create=True) as fresh:
        index(fresh, folder)
        assert contents(library) == contents(fresh)
    assert cut_short > KILLS / 3, "most processes had ended before they were killed: the test proves nothing"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from indexer.lock import writer_lock\n"
    code += "with writer_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with Library.open(tmp_path, create=True) as library:
        write(tmp_path / "p" / "a.jpg", jpeg(1))
        with pytest.raises(LibraryLocked, match=f"process {process.pid} "):
            index(library, tmp_path / "p")
        process.kill()
        process.wait()
        process.stdout.close()
        assert index(library, tmp_path / "p").embedded == 1
