"""From a model's name to everything needed to build it: configuration and files. Builds and loads nothing.

Does not know open_clip: what that knows of architectures and tags comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from indexer.encoding.hub import Store
from indexer.encoding.names import ModelName
from indexer.encoding.weights import CONFIG, HUB_WEIGHTS, find_weights, read_config

_TOKENIZER_FILES = ("*.json", "*.model", "*.txt")
_TOKENIZER_MARKS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")


class Known(NamedTuple):
    """What open_clip knows of ``ARCH/TAG``. ``repo`` is empty for random weights, ``file`` for the usual names."""

    config: dict[str, Any]
    preprocess: dict[str, Any]
    repo: str
    file: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One model, found. Folders are None where CLIP's own tokenizer or text tower is used."""

    model: ModelName
    config: dict[str, Any]  # open_clip's model_cfg
    preprocess: dict[str, Any]  # open_clip's preprocess_cfg
    weights: Path | None  # None: random
    tokenizer: Path | None = None
    text_model: Path | None = None


def plan_model(model: ModelName, store: Store, look_up: Callable[[ModelName], Known]) -> Plan:
    """Find a model's configuration and files, fetching what is missing.

    Raises:
        EncoderError: the model is unknown, or neither on disk nor to be had.

    """
    config, preprocess, weights = _find(model, store, look_up)
    text = config["text_cfg"]
    tokenizer = text_model = None
    if name := text.get("hf_tokenizer_name"):
        own = model.kind == "folder" and any((Path(model.place) / mark).is_file() for mark in _TOKENIZER_MARKS)
        tokenizer = Path(model.place) if own else store.folder(name, _TOKENIZER_FILES, _TOKENIZER_MARKS)
    if name := text.get("hf_model_name"):
        text_model = store.folder(name, _TOKENIZER_FILES, ["config.json"])
    return Plan(model, config, preprocess, weights, tokenizer, text_model)


def _find(
    model: ModelName, store: Store, look_up: Callable[[ModelName], Known]
) -> tuple[dict[str, Any], dict[str, Any], Path | None]:
    if model.kind == "folder":
        return *read_config(Path(model.place)), find_weights(Path(model.place))
    if model.kind == "hub":
        config = store.file(model.place, [CONFIG], model.revision)
        return *read_config(config.parent), store.file(model.place, HUB_WEIGHTS, model.revision)
    known = look_up(model)
    names = [known.file] if known.file else HUB_WEIGHTS
    return known.config, known.preprocess, store.file(known.repo, names) if known.repo else None
