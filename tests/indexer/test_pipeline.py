"""Incremental indexing, on folders small enough to know every answer."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import EncoderMismatch, LibraryLocked, SourceError
from indexer.images import Limits
from indexer.library import Library
from indexer.pipeline import Options, Progress, Session
from indexer.sources import SourceOptions, open_source
from tests.fakes import FakeEncoder
from tests.worlds import contents, failures, index, items, jpeg, write


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(6):
        write(tmp_path / "pictures" / f"{seed}.jpg", jpeg(seed))
    return tmp_path / "pictures"


def test_a_second_run_embeds_nothing(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    assert index(library, folder, encoder=encoder).embedded == 6
    again = index(library, folder, encoder=encoder)
    assert (again.unchanged, again.changes, encoder.images_encoded) == (6, 0, 6)


def test_an_unchanged_file_is_not_opened(library: Library, folder: Path) -> None:
    index(library, folder)
    for path in folder.iterdir():
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert index(library, folder).unchanged == 6


def test_a_rename_and_a_move_keep_id_and_vector(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder, encoder=encoder)
    before = {item.content_hash: item.id for item in items(library)}
    (folder / "0.jpg").rename(folder / "renamed.jpg")
    (folder / "deep").mkdir()
    (folder / "1.jpg").rename(folder / "deep" / "1.jpg")
    tally = index(library, folder, encoder=encoder)
    assert (tally.moved, tally.embedded, tally.removed, encoder.images_encoded) == (2, 0, 0, 6)
    assert {item.content_hash: item.id for item in items(library)} == before
    assert {item.locator for item in items(library)} >= {b"renamed.jpg", b"deep/1.jpg"}


def test_a_whole_folder_renamed_is_embedded_no_more(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder.parent, encoder=encoder)
    folder.rename(folder.parent / "elsewhere")
    tally = index(library, folder.parent, encoder=encoder)
    assert (tally.moved, tally.embedded, encoder.images_encoded) == (6, 0, 6)


def test_two_files_that_swap_names_swap_vectors(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder, encoder=encoder)
    (folder / "0.jpg").rename(folder / "t")
    (folder / "1.jpg").rename(folder / "0.jpg")
    (folder / "t").rename(folder / "1.jpg")
    for name in ("0.jpg", "1.jpg"):
        os.utime(folder / name)
    index(library, folder, encoder=encoder)
    with Library.open(library.path.parent / "fresh", create=True) as fresh:
        index(fresh, folder)
        assert contents(library) == contents(fresh)
    assert encoder.images_encoded == 6


def test_a_copy_shares_the_vector(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder, encoder=encoder)
    shutil.copy(folder / "0.jpg", folder / "copy.jpg")
    tally = index(library, folder, encoder=encoder)
    assert (tally.copied, tally.embedded) == (1, 0)
    assert len(library.index()) == 7


def test_a_changed_file_is_embedded_again_and_a_deleted_one_leaves(library: Library, folder: Path) -> None:
    index(library, folder)
    write(folder / "0.jpg", jpeg(100))
    (folder / "1.jpg").unlink()
    tally = index(library, folder)
    assert (tally.embedded, tally.removed, tally.unchanged) == (1, 1, 4)
    _, ids = library.index().search(FakeEncoder().encode_images([jpeg(100)]), 1)
    assert library.items(ids[0].tolist())[int(ids[0, 0])].locator == b"0.jpg"


def test_a_touched_file_keeps_its_vector(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder, encoder=encoder)
    os.utime(folder / "0.jpg", ns=(1, 1))
    assert index(library, folder, encoder=encoder).updated == 1
    assert index(library, folder, encoder=encoder).unchanged == 6
    assert encoder.images_encoded == 6


@pytest.mark.parametrize("vanish", [shutil.rmtree, lambda folder: [path.unlink() for path in folder.iterdir()]])
def test_a_missing_or_empty_root_deletes_nothing_without_prune(library: Library, folder: Path, vanish: object) -> None:
    index(library, folder)
    vanish(folder)  # type: ignore[operator]
    tally = index(library)
    assert (tally.removed, len(items(library))) == (0, 6)
    assert "--prune" in tally.notes[0]
    assert index(library, prune=True).removed == 6
    assert items(library) == []


def test_a_bad_picture_is_recorded_and_tried_again_only_when_it_changes(library: Library, folder: Path) -> None:
    write(folder / "bad.jpg", jpeg(7)[:200])
    tally = index(library, folder)
    assert (tally.embedded, tally.failed) == (6, 1)
    (failure,) = failures(library)
    assert failure.reason == "truncated"
    assert failure.remedy
    again = index(library, folder)
    assert (again.failed, again.failing) == (0, 1)
    assert index(library, folder, retry=True).failed == 1
    write(folder / "bad.jpg", jpeg(7))
    assert index(library, folder).embedded == 1
    assert failures(library) == []


def test_a_wider_limit_tries_what_the_narrower_one_refused(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.pipeline.run.Limits", lambda: Limits(max_pixels=100))  # the usual limit, made small
    small, wide = Limits(max_pixels=100), Limits(max_pixels=1_000)
    assert index(library, folder, limits=small).failed == 6
    assert index(library, folder, limits=small).failing == 6
    assert index(library, folder, limits=wide).embedded == 6
    assert failures(library) == []


def test_a_good_picture_that_goes_bad_leaves_the_index(library: Library, folder: Path) -> None:
    index(library, folder)
    write(folder / "0.jpg", b"no picture any more")
    tally = index(library, folder)
    assert (tally.failed, tally.removed, len(items(library))) == (1, 1, 5)
    (folder / "0.jpg").unlink()
    index(library, folder)
    assert failures(library) == []


def test_a_stop_keeps_what_is_committed_and_the_next_run_goes_on(library: Library, folder: Path) -> None:
    stop = threading.Event()
    encoder = FakeEncoder()

    def stop_soon(progress: Progress) -> None:
        if progress.done:
            stop.set()

    session = Session(library, lambda: encoder, Options(batch=2), stop, stop_soon)
    tally = session.index([open_source(str(folder))])
    assert tally.interrupted
    assert tally.embedded == len(items(library)) == len(library.index()) == 2
    rest = index(library, folder, encoder=encoder)
    assert (rest.embedded, rest.unchanged, encoder.images_encoded) == (4, 2, 6)


def test_one_writer_at_a_time_and_the_other_is_named(library: Library, folder: Path) -> None:
    with library.writer(), pytest.raises(LibraryLocked, match=rf"process {os.getpid()} on .*searching works meanwhile"):
        index(library, folder)
    assert index(library, folder).embedded == 6


def test_a_reader_sees_new_items_without_opening_again(library: Library, folder: Path) -> None:
    index(library, folder)
    with Library.open(library.path) as reader:
        assert len(reader.index()) == 6
        write(folder / "new.jpg", jpeg(50))
        (folder / "0.jpg").unlink()
        index(library, folder)
        ids = {item.locator: item.id for item in items(reader)}
        assert reader.index().ids.tolist() == sorted(ids.values())
        _, found = reader.index().search(FakeEncoder().encode_images([jpeg(50)]), 1)
        assert found[0, 0] == ids[b"new.jpg"]


def test_a_folder_inside_a_known_one_is_that_one(library: Library, folder: Path) -> None:
    write(folder / "sub" / "x.jpg", jpeg(9))
    index(library, folder)
    index(library, folder / "sub")
    assert len(items(library)) == 7
    with library.catalog.read() as reader:
        assert [source.location for source in reader.sources()] == [str(folder)]


def test_a_folder_around_a_known_one_takes_it_in(library: Library, folder: Path) -> None:
    encoder = FakeEncoder()
    index(library, folder, encoder=encoder)
    before = [item.id for item in items(library)]
    index(library, folder.parent / "pictures" / "..", encoder=encoder)
    assert [item.id for item in items(library)] == before
    assert encoder.images_encoded == 6


def test_vectors_of_two_encoders_are_not_mixed(library: Library, folder: Path) -> None:
    index(library, folder)
    write(folder / "new.jpg", jpeg(50))
    with pytest.raises(EncoderMismatch, match=r"fake.*other.*reindex --model"):
        index(library, folder, encoder=FakeEncoder("other"))


def test_precomputed_vectors_of_another_length_are_refused(library: Library, tmp_path: Path) -> None:
    write(tmp_path / "vectors" / "metadata" / "x", b"")
    (tmp_path / "vectors" / "img_emb").mkdir()
    np.save(tmp_path / "vectors" / "img_emb" / "img_emb_0.npy", np.ones((3, 5), np.float16))
    table = pa.table({"image_path": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "vectors" / "metadata" / "metadata_0.parquet")
    with pytest.raises(EncoderMismatch, match=r"have 5 numbers and the library's model makes 16; .* own --model"):
        index(library, tmp_path / "vectors")


def test_what_was_said_about_a_table_holds_in_later_runs(library: Library, folder: Path) -> None:
    table = write(folder / "products.csv", b"image,sku,note\n0.jpg,A,first\n1.jpg,A,second\n")
    encoder = FakeEncoder()
    session = Session(library, lambda: encoder)
    session.index([open_source(str(table), SourceOptions(product_column="sku", text_column="note"))])
    table.write_bytes(table.read_bytes() + b"2.jpg,B,third\n")
    index(library, table)
    assert [(item.product, item.text) for item in items(library)] == [("A", "first"), ("A", "second"), ("B", "third")]


def test_without_sources_there_is_nothing_to_do(library: Library) -> None:
    with pytest.raises(SourceError, match="diptych index FOLDER"):
        index(library)


def test_stored_vectors_are_those_of_the_encoder(library: Library, folder: Path) -> None:
    index(library, folder)
    encoder = FakeEncoder()
    for item in items(library):
        _, stored = library.vectors([item.id])
        expected = encoder.encode_images([(folder / os.fsdecode(item.locator)).read_bytes()])
        np.testing.assert_allclose(stored, expected, atol=2e-3)


def test_a_file_that_comes_back_between_the_two_scans_stays(library: Library, folder: Path, tmp_path: Path) -> None:
    index(library, folder)
    (folder / "0.jpg").rename(tmp_path / "away.jpg")
    write(folder / "new.jpg", jpeg(50))
    encoder = FakeEncoder()

    def load_late() -> FakeEncoder:  # the encoder is loaded after the first scan and before the second
        (tmp_path / "away.jpg").rename(folder / "0.jpg")
        return encoder

    Session(library, load_late).index([open_source(str(folder))])
    assert {item.locator for item in items(library)} == {b"new.jpg", *(f"{n}.jpg".encode() for n in range(6))}
