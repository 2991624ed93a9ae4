"""The compact encoder's shape, and reading and writing it as an open_clip folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Names that open_clip 3.3 looks for in a `local-dir:`.
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 384,
        "init_logit_scale": 2.6592,
        "vision_cfg": {
            "timm_model_name": "mobilenetv2_100",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": 128,
        },
        "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 255,
    },
}


def build(config: dict[str, Any] = CONFIG) -> nn.Module:
    """An open_clip `CLIP` of that config with random weights, picture tower channels last."""
    from open_clip.model import CLIP  # heavy

    model: nn.Module = CLIP(**copy.deepcopy(config["model_cfg"]))
    model.get_submodule("visual").to(memory_format=torch.channels_last)
    return model


def units(trunk: Any) -> list[nn.Module]:
    """A timm MobileNetV2 trunk as 19 modules in order: stem, 17 blocks, the last 1x1 convolution."""
    blocks = [block for stage in trunk.blocks for block in stage]
    return [nn.Sequential(trunk.conv_stem, trunk.bn1), *blocks, nn.Sequential(trunk.conv_head, trunk.bn2)]


def folded(trunk: Any) -> Any:
    """A copy of a MobileNetV2 trunk for inference with each batch norm folded into the convolution before it."""
    trunk = copy.deepcopy(trunk).eval()
    holders = [trunk, *(block for stage in trunk.blocks for block in stage)]
    for holder in holders:
        pairs = [("conv_stem", "bn1"), ("conv_head", "bn2")] if holder is trunk else _pairs(holder)
        for conv, norm in pairs:
            old = getattr(holder, norm)
            setattr(holder, conv, fuse_conv_bn_eval(getattr(holder, conv), old))
            setattr(holder, norm, old.act)
    return trunk.to(memory_format=torch.channels_last)


def _pairs(block: Any) -> list[tuple[str, str]]:
    convolutions = [name for name, _ in block.named_children() if name.startswith("conv")]
    return [(name, f"bn{number}") for number, name in enumerate(convolutions, 1)]


def features(trunk: nn.Module, pictures: Tensor) -> Tensor:
    """Average-pooled picture features float32 [n, 1280] of pictures [n, 3, side, side] in [-1, 1]."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.as_tensor(trunk(pictures)).float()


def save_folder(model: nn.Module, folder: Path, config: dict[str, Any] = CONFIG) -> None:
    """Writes config and fp16 weights; the weights are renamed into place whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    part = folder / (WEIGHTS_FILE + ".part")
    save_file(weights, part, metadata={"format": "pt"})
    part.chmod(0o644)
    part.replace(folder / WEIGHTS_FILE)


def load_folder(folder: Path) -> nn.Module:
    """The float32 model of such a folder, in eval mode."""
    model = build(json.loads((folder / CONFIG_FILE).read_text()))
    model.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS_FILE).items()})
    return model.eval()
