"""Opening the database of a library: pragmas, transactions, migrations.

Knows how SQLite wants to be treated; knows nothing of what the tables mean.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError

from indexer.catalog.filters import teach
from indexer.errors import CatalogError

HEAD = "0001"  # the newest migration; a test compares it with the files
BUSY_MS = 30_000


def open_database(path: Path) -> Engine:
    """Engine over the SQLite file at ``path``, migrated to ``HEAD``. Raises CatalogError."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False},
        json_serializer=partial(json.dumps, allow_nan=False, ensure_ascii=False),  # SQLite cannot read NaN
    )
    event.listen(engine, "connect", _tune)
    event.listen(engine, "begin", _begin)
    try:
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise CatalogError(
            f"{path} is not a library's database or is damaged ({error.orig}); "
            "restore it from a copy or an export, or index into a new library"
        ) from error
    except CatalogError:
        engine.dispose()
        raise
    return engine


def _tune(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own habit breaks read snapshots
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "PRAGMA synchronous = NORMAL"
    )  # WAL: a crash of the machine loses the last commits, never the file
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA mmap_size = 1073741824")
    teach(connection)


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise CatalogError(
            f"the library was written by a newer Diptych (its schema is {revision}, this one knows {HEAD}); "
            "update Diptych"
        )
    from alembic import command  # slow to import, and only a new or old library needs it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    with engine.connect().execution_options(writing=True) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _revision(connection: Connection) -> str | None:
    names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
    if "alembic_version" not in names:
        if names:
            raise CatalogError("the database holds tables that are not a library's; choose another --library folder")
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
