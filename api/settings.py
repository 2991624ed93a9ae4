"""What the environment says. The only file that reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Defaults that a command's options override."""

    library: Path
    model: str | None  # for a new library; one that exists remembers its own
    device: str | None
    precision: str | None
    debug: bool


def read_settings() -> Settings:
    """Settings from ``DIPTYCH_*`` variables; empty ones count as unset."""

    def told(name: str) -> str | None:
        return os.environ.get(f"DIPTYCH_{name}") or None

    library = told("LIBRARY")
    return Settings(
        library=Path(library).expanduser() if library else default_library(),
        model=told("MODEL"),
        device=told("DEVICE"),
        precision=told("PRECISION"),
        debug=told("DEBUG") is not None,
    )


def default_library() -> Path:
    """The user's data folder, as this system has it."""
    from platformdirs import user_data_path

    return user_data_path("diptych", appauthor=False) / "library"
