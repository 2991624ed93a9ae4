"""How a model is spelled: text in, ``ModelName`` out, and back to the one canonical spelling.

Knows the grammar and the presets. Does not know which architectures exist; ``indexer.encoder`` asks open_clip.

    compact | balanced | best                    a preset
    ARCH/TAG   or  ARCH__TAG                     an open_clip architecture with a pretrained tag
    ARCH/random                                  random weights, for benchmarks and tests; ?seed=N, 0 by default
    hf-hub:ORG/NAME  or  hf-hub:ORG/NAME@REV     an open_clip repository on the Hugging Face hub
    local-dir:PATH                               a folder with open_clip_config.json and weights

Each may end in ``?letterbox=1`` (or 0). ``auto`` is not a name of a model: ``load_encoder`` decides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from indexer.encoding.presets import COMPACT_FOLDER, PRESETS
from indexer.errors import EncoderError

HUB = "hf-hub:"
FOLDER = "local-dir:"
RANDOM = "random"
# Only these two words count as options, so that a folder may have a question mark in its name.
_OPTIONS = re.compile(r"\?((?:letterbox=[01]|seed=\d{1,9})(?:&(?:letterbox=[01]|seed=\d{1,9}))*)$")


@dataclass(frozen=True, slots=True)
class ModelName:
    """One model, taken apart. ``place`` is the architecture, the hub repository or the absolute folder."""

    kind: Literal["tag", "random", "hub", "folder"]
    place: str
    tag: str = ""
    revision: str | None = None
    seed: int = 0
    letterbox: bool | None = None

    @property
    def spec(self) -> str:
        """The spelling a library stores: it names the same model from any working directory."""
        options = [f"seed={self.seed}"] if self.kind == "random" else []
        if self.letterbox is not None:
            options.append(f"letterbox={self.letterbox:d}")
        return self.base + ("?" + "&".join(options) if options else "")

    @property
    def base(self) -> str:
        """The spelling without options."""
        if self.kind == "hub":
            return f"{HUB}{self.place}" + (f"@{self.revision}" if self.revision else "")
        if self.kind == "folder":
            return "compact" if self.place == str(COMPACT_FOLDER) else f"{FOLDER}{self.place}"
        return f"{self.place}/{RANDOM if self.kind == 'random' else self.tag}"


def parse_name(name: str, *, letterbox: bool | None = None) -> ModelName:
    """Take a model's name apart; ``letterbox`` overrides what the name says.

    Raises:
        EncoderError: the text is no name of a model.

    """
    text = name.strip()
    options: dict[str, str] = {}
    if found := _OPTIONS.search(text):
        options = dict(pair.split("=") for pair in found[1].split("&"))
        text = text[: found.start()]
    model = _parse_base(PRESETS[text].spec if text in PRESETS else text)
    if "seed" in options and model.kind != "random":
        raise EncoderError(f"{name!r} gives a seed, which only ARCH/random has; leave the seed out")
    if letterbox is None and "letterbox" in options:
        letterbox = options["letterbox"] == "1"
    return replace(model, seed=int(options.get("seed", 0)), letterbox=letterbox)


def _parse_base(text: str) -> ModelName:
    if text.startswith(FOLDER):
        return _parse_folder(text.removeprefix(FOLDER))
    if text.startswith(HUB):
        return _parse_hub(text.removeprefix(HUB))
    if not text or text[0] in "./~\\":
        raise EncoderError(f"{text!r} is not the name of a model; a folder is written {FOLDER}{text or 'PATH'}")
    arch, _, tag = text.partition("__" if "__" in text else "/")
    if tag == RANDOM:
        return ModelName("random", arch)
    return ModelName("tag", arch, tag)


def _parse_folder(path: str) -> ModelName:
    if not path:
        raise EncoderError(f"{FOLDER} names no folder; write {FOLDER}PATH")
    return ModelName("folder", str(Path(path).expanduser().resolve()))


def _parse_hub(text: str) -> ModelName:
    repo, _, revision = text.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise EncoderError(f"{HUB}{text} names no repository; write {HUB}ORG/NAME or {HUB}ORG/NAME@REVISION")
    return ModelName("hub", repo, revision=revision or None)


def nearest(wanted: str, known: Iterable[str]) -> str:
    """Up to three known names like ``wanted``, as the words ``; did you mean A, B?``, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.55)
    return f"; did you mean {', '.join(by_lower[name] for name in close)}?" if close else ""
