"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine(*libraries: str) -> str:
    """CPU model, cores, Python, and the versions of the libraries that matter."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    told = ", ".join(f"{name} {version(name)}" for name in libraries)
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {told}"
