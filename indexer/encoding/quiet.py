"""Keeps the libraries' chatter off the user's terminal while a model is found, built and loaded.

Knows which libraries talk, and nothing about models. What they say that matters becomes an EncoderError
or the encoder's ``note``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("open_clip", "timm", "transformers", "tokenizers", "huggingface_hub", "torch", "torchvision")
_LOUD_LOGGERS = ("transformers", "huggingface_hub", "timm", "httpx")


def _not_open_clip(record: logging.LogRecord) -> bool:
    return "open_clip" not in record.pathname


@contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings and log lines that come from the model libraries; everything else passes."""
    root = logging.getLogger()
    # open_clip logs on the root logger, and logging.info() on a root without handlers installs one that
    # writes to stderr for good: hence a handler that writes nowhere, as well as the filter.
    nowhere = logging.NullHandler()
    root.addHandler(nowhere)
    root.addFilter(_not_open_clip)
    levels = {name: logging.getLogger(name).level for name in _LOUD_LOGGERS}
    for name in _LOUD_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            for library in _LIBRARIES:
                warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        root.removeFilter(_not_open_clip)
        root.removeHandler(nowhere)
