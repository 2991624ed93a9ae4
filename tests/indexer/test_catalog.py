"""The catalogue: migrations equal the tables, transactions are whole, snapshots do not move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from indexer.catalog import Catalog, NewItem
from indexer.catalog.database import HEAD, open_database
from indexer.catalog.tables import schema
from indexer.errors import EncoderMismatch

MIGRATIONS = Path(__file__).parents[2] / "indexer" / "catalog" / "migrations"


def item(name: str, content: bytes = b"0" * 16) -> NewItem:
    return NewItem(name.encode(), name, content, 1, 2, 3, 4, 5, "JPEG", None, "", "", {"price": 7})


def test_migrations_make_just_the_tables_that_are_described(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "library.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_opened_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "library.sqlite")

    def break_off() -> None:
        with catalog.write() as writer:
            source = writer.add_source("folder", "/somewhere", {})
            writer.add_items(source.id, [item("a")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with catalog.read() as reader:
        assert (reader.count_items(), reader.sources(), reader.generation()) == (0, [], 0)
    catalog.close()


def test_a_snapshot_does_not_move_and_the_generation_counts_changes(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "library.sqlite")
    with catalog.read() as before:
        assert before.generation() == 0
        with catalog.write() as writer:
            source = writer.add_source("folder", "/somewhere", {})
            writer.add_items(source.id, [item("a")])
        assert (before.count_items(), before.generation()) == (0, 0)
    with catalog.write() as writer:
        writer.finish_source(source.id, None)  # changes no item
    with catalog.read() as after:
        assert (after.count_items(), after.generation()) == (1, 1)
    catalog.close()


def test_ids_are_never_given_away_again(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "library.sqlite")
    with catalog.write() as writer:
        source = writer.add_source("folder", "/somewhere", {})
        (first,) = writer.add_items(source.id, [item("a")])
        writer.remove_items([first])
        (second,) = writer.add_items(source.id, [item("a")])
    assert second > first
    catalog.close()


def test_a_vector_of_another_length_is_refused(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "library.sqlite")
    with catalog.write() as writer:
        source = writer.add_source("folder", "/somewhere", {})
        encoder = writer.add_encoder({"spec": "fake", "fingerprint": "f", "dim": 4}, "active")
        ids = writer.add_items(source.id, [item("a")])
        with pytest.raises(EncoderMismatch, match="vectors of 3 numbers do not fit encoder fake of 4"):
            writer.put_vectors(encoder, ids, np.ones((1, 3), np.float32))
    catalog.close()


def test_a_changed_picture_loses_the_vectors_of_every_encoder(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "library.sqlite")
    with catalog.write() as writer:
        source = writer.add_source("folder", "/somewhere", {})
        now = writer.add_encoder({"spec": "now", "fingerprint": "n", "dim": 2}, "active")
        then = writer.add_encoder({"spec": "then", "fingerprint": "t", "dim": 2}, "previous")
        ids = writer.add_items(source.id, [item("a")])
        for encoder in (now, then):
            writer.put_vectors(encoder, ids, np.array([[1, 0]], np.float32))
        writer.add_items(source.id, [item("a", b"1" * 16)])
        assert (writer.count_vectors(now.id), writer.count_vectors(then.id)) == (0, 0)
    catalog.close()
