"""Watching keeps a folder in step."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from indexer.errors import SourceError
from indexer.library import Library
from indexer.pipeline import Session, Tally
from indexer.pipeline.watch import watch_folders
from indexer.sources import open_source
from tests.fakes import FakeEncoder
from tests.worlds import items, jpeg, write


def test_a_new_picture_is_indexed_and_a_deleted_one_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write(folder / "a.jpg", jpeg(1))
    with Library.open(tmp_path / "library", create=True) as library:
        session = Session(library, FakeEncoder)
        session.index([open_source(str(folder))])
        stop, told = threading.Event(), []
        ready = threading.Event()

        def work() -> None:
            watch_folders(session, stop, told.append, lambda _sentence: ready.set())

        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert ready.wait(10)
            time.sleep(0.5)  # until the operating system watches
            write(folder / "b.jpg", jpeg(2))
            until(lambda: len(items(library)) == 2)
            (folder / "a.jpg").unlink()
            until(lambda: [item.locator for item in items(library)] == [b"b.jpg"])
        finally:
            stop.set()
            thread.join(20)
        assert isinstance(told[0], Tally)


def until(holds: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_there_must_be_a_folder_to_watch(tmp_path: Path) -> None:
    refused = pytest.raises(SourceError, match="no folder to watch")
    with Library.open(tmp_path / "library", create=True) as library, refused:
        watch_folders(Session(library, FakeEncoder), threading.Event(), lambda _: None, lambda _: None)
