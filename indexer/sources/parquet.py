"""Rows of a Parquet file, a batch at a time. The only file here that knows pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexer.errors import SourceError

_BATCH = 2048
_BATCH_WITH_BYTES = 64


def columns(path: Path) -> list[str]:
    """Name the columns."""
    with _open(path) as file:
        return list(file.schema_arrow.names)


def count(path: Path) -> int:
    """Give the number of rows."""
    with _open(path) as file:
        return int(file.metadata.num_rows)


def holds_bytes(path: Path, column: str) -> bool:
    """Tell whether every row of a column holds the picture itself, so that nothing outside the file matters."""
    with _open(path) as file:
        leaves = {column: "", f"{column}.bytes": ""}
        nulls, seen = 0, False
        for group in (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)):
            for leaf in (group.column(i) for i in range(group.num_columns)):
                if leaf.path_in_schema in leaves and leaf.physical_type == "BYTE_ARRAY":
                    seen = str(file.schema.column(_index(file, leaf.path_in_schema)).logical_type) == "None"
                    nulls += 1 if leaf.statistics is None else leaf.statistics.null_count or 0
        return seen and nulls == 0


def _index(file: Any, leaf: str) -> int:
    return next(i for i in range(len(file.schema)) if file.schema.column(i).path == leaf)


def rows(path: Path, wanted: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield each row as Python values by column: the ``wanted`` columns whatever they hold, of the others only
    scalars and lists of texts (an embedding is no metadata). Memory stays bounded by small batches.
    """  # noqa: D205
    with _open(path) as file:
        schema = file.schema_arrow
        names = [field.name for field in schema if field.name in wanted or _is_plain(field.type)]
        heavy = any(_is_heavy(schema.field(name).type) for name in names)
        size = _BATCH_WITH_BYTES if heavy else _BATCH
        for batch in file.iter_batches(batch_size=size, columns=names, use_threads=False):
            yield from _microseconds(batch).to_pylist()


def _is_plain(kind: Any) -> bool:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        kind = kind.value_type
    if t.is_list(kind) or t.is_large_list(kind):
        return bool(t.is_string(kind.value_type) or t.is_large_string(kind.value_type))
    return not (t.is_nested(kind) or _is_heavy(kind) or t.is_duration(kind) or t.is_interval(kind))


def _is_heavy(kind: Any) -> bool:
    import pyarrow.types as t

    return bool(t.is_struct(kind) or t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind))


def _microseconds(batch: Any) -> Any:
    """Round nanosecond times, which Python's own classes cannot hold."""
    import pyarrow as pa

    table = pa.Table.from_batches([batch])
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            table = table.set_column(i, field.name, table[i].cast(pa.timestamp("us", field.type.tz), safe=False))
        elif pa.types.is_time64(field.type) and field.type.unit == "ns":
            table = table.set_column(i, field.name, table[i].cast(pa.time64("us"), safe=False))
    return table


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    import pyarrow as pa  # here, because it is slow to import and many collections are plain folders
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SourceError(f"{path} cannot be read as Parquet ({said}); write the table again") from None
