"""The picture teacher, read from the data folder at training time and never shipped."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.words import teacher_names

# The units after which the resolution or width changes: where the student's maps are compared (index into 19).
TAPS = (1, 3, 6, 10, 13, 16, 17)


@dataclass(frozen=True)
class Teacher:
    """A MobileNetV2 in bf16 (`units`, 19 modules in order) with its float32 head and its class names."""

    units: list[nn.Module]
    head: nn.Linear
    names: list[str]

    @torch.no_grad()
    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Activations after each of the 19 units for pictures [n, 3, side, side] in [-1, 1]; bf16."""
        here, found = pictures.bfloat16(), []
        for unit in self.units:
            here = unit(here)
            found.append(here)
        return found

    def logits(self, pooled: Tensor) -> Tensor:
        """Class logits [n, 1000] of pooled features [n, 1280]; the background class is left out."""
        return torch.as_tensor(self.head(pooled))[:, 1:]


def load(data: Path) -> Teacher:
    """Reads `teachers/` of the data folder.

    Raises FileNotFoundError naming the folder when it is not there.
    """
    folder = data / "teachers"
    script = folder / "mobilenet_v2.py"
    if not script.exists():
        raise FileNotFoundError(f"no teacher at {script}; point --data at the folder that holds teachers/")
    spec = importlib.util.spec_from_file_location("picture_teacher", script)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {script}")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.load(folder / "mobilenet_v2_imagenet_fp16.pt").requires_grad_(False)
    head = net.classifier
    body = net.features.bfloat16().to(memory_format=torch.channels_last)
    names = teacher_names((folder / "mobilenet_v2_labels.txt").read_text().splitlines())
    return Teacher(list(body), head, names)
