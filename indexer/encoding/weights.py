"""Files of weights: which one in a folder, whether it is safe to read, and what identifies it.

Knows files and hashes; reads tensors only to refuse what is damaged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from indexer.errors import EncoderError

CONFIG = "open_clip_config.json"
# best first; the same order open_clip looks in
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_PREFERRED = (*HUB_WEIGHTS, "open_clip_pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
# of these keys a vector does not depend: where weights come from, and values the weights replace
_IGNORED = frozenset({"timm_model_pretrained", "hf_model_pretrained", "init_logit_scale", "init_logit_bias"})
_BLOB = re.compile(r"[0-9a-f]{64}")


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``open_clip_config.json``: its ``model_cfg`` and ``preprocess_cfg``.

    Raises:
        EncoderError: the folder or the file is missing, or it is not such a configuration.

    """
    path = folder / CONFIG
    if not folder.is_dir():
        raise EncoderError(f"there is no folder {folder}; write local-dir:PATH with the folder of an open_clip model")
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise EncoderError(f"{folder} has no {CONFIG}, so it is no open_clip model; choose another folder") from None
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error}); restore the file") from error
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
        raise EncoderError(f"{path} has no model_cfg with embed_dim, vision_cfg and text_cfg; restore the file")
    return model, config.get("preprocess_cfg") or {}


def find_weights(folder: Path) -> Path:
    """Choose the file of weights in ``folder``: a well-known name first, or the only one there is.

    Raises:
        EncoderError: there is none, or several and nothing to choose by.

    """
    for name in _PREFERRED:
        if (folder / name).is_file():
            return folder / name
    for suffix in _SUFFIXES:
        found = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise EncoderError(f"{folder} has several files of weights ({names}); name the right one {_PREFERRED[0]}")
    raise EncoderError(f"{folder} has no weights; put {_PREFERRED[0]} beside its {CONFIG}")


def check_readable(path: Path) -> None:
    """Refuse weights that are damaged or that could run code; costs no more than reading the header for safetensors.

    Raises:
        EncoderError: with what is wrong with the file.

    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                file.keys()
        else:
            # open_clip falls back to a full unpickle in one case; what passes here never gets that far
            torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise EncoderError(f"{path} is damaged ({error}); fetch it again") from error
    except Exception as error:  # an unpickler can fail with anything
        raise EncoderError(
            f"{path} is damaged or holds more than plain tensors, and such files are not opened because they can run "
            "code; use a .safetensors file"
        ) from error


def weights_hash(path: Path) -> str:
    """SHA-256 of the file, as hex. In the hub's cache a snapshot links to a file of that very name, so it is free."""
    blob = path.resolve().name
    if _BLOB.fullmatch(blob):
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_aside(path: Path) -> Future[str]:
    """``weights_hash`` in a thread of its own, so that hashing and loading share the time it takes."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="diptych-hash")
    done = pool.submit(weights_hash, path)
    pool.shutdown(wait=False)
    return done


def fingerprint(model_cfg: Mapping[str, Any], frame: Mapping[str, Any], weights: str) -> str:
    """32 hex digits over architecture, preprocessing and weights; device and precision do not enter."""
    facts = {"model": _relevant(model_cfg), "frame": frame, "weights": weights}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _relevant(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _relevant(part) for key, part in value.items() if key not in _IGNORED and part is not None}
    return value
