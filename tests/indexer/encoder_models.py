"""Small open_clip models with random weights, written to a folder: a ViT, a convolutional net, a SigLIP-like one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from indexer.seams import Floats

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64},
    "text_cfg": TEXT,
}
CONV: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {
        "timm_model_name": "mobilenetv2_035",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": 64,
    },
    "text_cfg": TEXT,
}
SIGLIP: dict[str, Any] = {
    **VIT,
    "init_logit_bias": -10,
    "custom_text": True,
    "text_cfg": {
        **TEXT,
        "no_causal_mask": True,
        "pool_type": "last",
        "proj_bias": True,
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}
# a text tower of its own class, but causal and looking at the end mark: padding is without effect
CUSTOM: dict[str, Any] = {**VIT, "custom_text": True}
LETTERBOXED = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "longest", "fill_color": 255}
SQUASHED = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}


def write_model(
    folder: Path, config: dict[str, Any], preprocess: dict[str, Any] | None = None, *, seed: int = 0
) -> Path:
    """Write ``open_clip_config.json`` and safetensors of a model with random weights and lively batch norms."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    written = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    config = copy.deepcopy(config)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(**config)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.get_buffer("running_mean"), 0, 0.2)
                torch.nn.init.uniform_(module.get_buffer("running_var"), 0.5, 1.5)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    return folder


WEIGHTS = "open_clip_model.safetensors"


def picture(width: int = 90, height: int = 70, seed: int = 0) -> Image.Image:
    """Coloured blobs, the same for a seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def cosines(mine: Floats, theirs: Floats) -> Floats:
    """Cosine of each row ``[n, dim]`` of unit length with its twin."""
    product: Floats = np.sum(mine * theirs, axis=1)
    return product


def put_in_cache(cache: Path, repo: str, folder: Path) -> Path:
    """Lay a folder out as a repository in a Hugging Face cache; returns the snapshot."""
    from hashlib import sha256

    place = cache / f"models--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / ("c" * 40)
    for part in (snapshot, place / "blobs", place / "refs"):
        part.mkdir(parents=True)
    (place / "refs" / "main").write_text("c" * 40)
    for file in folder.iterdir():
        blob = place / "blobs" / sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)
    return snapshot
