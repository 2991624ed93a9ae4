"""An index on disk: a manifest that names its parts, written so that a crash leaves the old one or the new one.

Knows file names, checksums and JSON; never unpickles. The parts get names nobody used before and are synced first; the
manifest is renamed over the old one last; then the old parts are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import VectorIndexError

_MAGIC = "diptych vector index"
_VERSION = 1
_BLOCK = 1 << 20
_WHOLE_UP_TO = 64 * _BLOCK  # reading more than this on every start would be felt
_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Saved:
    """What a manifest says: ``facts`` about the index, and where its parts are."""

    facts: Mapping[str, Any]
    parts: Mapping[str, Path]


def publish(path: Path, facts: Mapping[str, Any], writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write each part with its writer, then the manifest to ``path``. Raises VectorIndexError, the old index intact."""
    token = secrets.token_hex(8)
    fresh = {part: path.with_name(f"{path.name}.{token}.{part}") for part in writers}
    draft = path.with_name(f"{path.name}.{token}.tmp")
    try:
        for part, write in writers.items():
            write(fresh[part])
            _sync(fresh[part])
        body = {"facts": dict(facts), "parts": {part: _describe(file) for part, file in fresh.items()}}
        draft.write_text(json.dumps(_sealed(body), indent=1))
        _sync(draft)
        _sync(path.parent)
        os.replace(draft, path)  # noqa: PTH105  the tests let this one call fail
    except BaseException as error:
        if not _names(path, token):  # an interrupt may arrive just after the renaming
            for file in (*fresh.values(), draft):
                file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = error.strerror or str(error)
            raise VectorIndexError(
                f"the vector index could not be written to {path} ({what}); the old one stays"
            ) from error
        raise
    _sync(path.parent)
    _sweep(path, {file.name for file in fresh.values()})


def inspect(path: Path, *, whole: bool = False) -> Saved:
    """Read and check the manifest at ``path`` and its parts.

    Parts above 64 MiB are checked by size and by 64 blocks spread over them, unless ``whole``.
    """
    body = _manifest(path)
    parts = {}
    for part, told in body["parts"].items():
        file = path.with_name(told["name"])
        if not file.is_file() or file.stat().st_size != told["bytes"]:
            raise _damaged(path, f"{file.name} is missing or not {told['bytes']} bytes long")
        name = "whole" if whole or told["bytes"] <= _WHOLE_UP_TO else "sampled"
        if _digest(file, whole=name == "whole") != told[name]:
            raise _damaged(path, f"{file.name} has a wrong checksum")
        parts[part] = file
    return Saved(body["facts"], parts)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise VectorIndexError(f"there is no vector index at {path}; build one first") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, "the manifest cannot be read") from error
    if not isinstance(body, dict) or body.get("magic") != _MAGIC:
        raise _damaged(path, "it is not a vector index")
    if body.get("version") != _VERSION:
        raise VectorIndexError(
            f"{path} has format {body.get('version')}, this program reads {_VERSION}; rebuild the index"
        )
    seal = body.pop("seal", None)
    if _sealed(body)["seal"] != seal:
        raise _damaged(path, "the manifest has a wrong checksum")
    return body


def _damaged(path: Path, what: str) -> VectorIndexError:
    return VectorIndexError(f"the vector index at {path} is damaged ({what}); rebuild it from the catalogue")


def _sealed(body: Mapping[str, Any]) -> dict[str, Any]:
    full = {"magic": _MAGIC, "version": _VERSION} | dict(body)
    text = json.dumps(full, sort_keys=True).encode()
    return full | {"seal": hashlib.blake2b(text, digest_size=16).hexdigest()}


def _describe(file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    told = {"name": file.name, "bytes": size, "whole": _digest(file, whole=True)}
    return told | ({"sampled": _digest(file, whole=False)} if size > _WHOLE_UP_TO else {})


def _digest(file: Path, *, whole: bool) -> str:
    """Checksum of all of ``file``, or of 64 blocks of 64 KiB spread from its first byte to its last."""
    if whole:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    digest, piece = hashlib.blake2b(digest_size=16), _BLOCK // 16
    with file.open("rb") as opened:
        last = file.stat().st_size - piece
        for step in range(_SAMPLES):
            opened.seek(last * step // (_SAMPLES - 1))
            digest.update(opened.read(piece))
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _names(path: Path, token: str) -> bool:
    return path.is_file() and token in path.read_text(errors="replace")


def _sweep(path: Path, keep: set[str]) -> None:
    """Remove the parts of older saves, and what a crash left."""
    ours = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.[a-z]+")
    for file in path.parent.iterdir():
        if file.name not in keep and ours.fullmatch(file.name):
            with suppress(OSError):  # Windows keeps what is mapped; the next save tries again
                file.unlink()
