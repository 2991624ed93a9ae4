"""Which device and which number format, and proof that the format gives the same vectors.

Knows torch; not open_clip. A lower precision is used only for a tower whose vectors agree with fp32: that is
measured when a model is loaded, on a handful of made-up pictures and texts, rather than assumed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.errors import EncoderError
from indexer.seams import Floats, Pixels

if TYPE_CHECKING:
    import torch

# Least cosine between the vector of a made-up picture and its fp32 twin. What is promised for real pictures is
# 0.999; the rest is a margin, because the worst of a thousand photographs is worse than the worst of four.
AGREEMENT = 0.9995
_FOLDED = 0.99999  # the same, before and after batch norms are folded: both are fp32
_NAMES = ("fp32", "bf16", "fp16")
PROBE_TEXTS = (
    "a photo of a red wooden chair on a white background",
    "sofa",
    "two dogs run along the beach at dusk",
    "",
)


def choose_device(wanted: str | None) -> torch.device:
    """Give the wanted device, or the best there is: cuda, mps, cpu.

    Raises:
        EncoderError: there is no such device here.

    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(name for name, there in here.items() if there) if wanted in {None, "auto"} else str(wanted)
    try:
        device = torch.device(kind)
    except RuntimeError:
        device = None
    known = device is not None and here.get(device.type, False)
    if device is None or not known or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        present = ", ".join(name for name, there in here.items() if there)
        raise EncoderError(f"there is no device {wanted!r} on this machine; use one of: {present}")
    return device


def choose_precision(wanted: str | None, device: torch.device) -> str:
    """Give ``fp32``, ``bf16`` or ``fp16``: what was asked for, or what the machine does well.

    Raises:
        EncoderError: the precision is none of those.

    """
    import torch

    if wanted in _NAMES:
        return str(wanted)
    if wanted not in {None, "auto"}:
        raise EncoderError(f"there is no precision {wanted!r}; use one of: auto, {', '.join(_NAMES)}")
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_does_bf16() else "fp32"


def torch_dtype(precision: str) -> torch.dtype:
    """Give torch's type of this name."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _cpu_does_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware; emulated it is slower than fp32."""
    import torch

    for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if (known := getattr(torch.cpu, ask, None)) and known():
            return True
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "ignore").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def agreement(mine: Floats, theirs: Floats) -> float:
    """Least cosine of unit rows ``[n, dim]`` with their twins; nan where something is not finite."""
    return float(np.min(np.sum(mine * theirs, axis=1)))


def probe_pictures(side: int) -> Pixels:
    """Make pictures up, uint8 ``[2 to 4, side, side, 3]``, the same every time.

    Their spectrum falls off as that of photographs does (D. J. Field, 1987): such pictures bring out a difference
    between number formats about as well as photographs, while gradients and discs hide it.
    """
    random = np.random.default_rng(20_240_101)
    distance = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))  # [side, side / 2 + 1]
    fall = np.maximum(distance, 1 / side) ** -1.3
    pictures = np.empty((4 if side <= 256 else 2, side, side, 3), np.uint8)
    for picture in pictures:
        waves = fall * np.exp(2j * np.pi * random.random((3, *fall.shape)))
        planes = np.fft.irfft2(waves, (side, side))  # [3, side, side]: brightness and two kinds of colour
        planes /= planes.std(axis=(1, 2), keepdims=True)
        colours = np.tensordot(planes, [[1, 1, 1], [0.4, 0, -0.4], [0.15, -0.3, 0.15]], axes=(0, 0))
        picture[:] = np.clip(random.uniform(80, 170) + random.uniform(45, 70) * colours, 0, 255)
    return pictures


def fold_batch_norms(tower: torch.nn.Module) -> list[tuple[torch.nn.Module, str, torch.nn.Module]]:
    """Merge every batch norm that directly follows a convolution into it.

    The pairs are guessed from the order of registration, so the caller must compare vectors afterwards and, if they
    differ, put back what is returned: (parent, name, module as it was).
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(tower.modules()):
        children = list(parent.named_children())
        for (first, conv), (second, norm) in itertools.pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if conv.out_channels == norm.num_features:
                replaced += [(parent, first, conv), (parent, second, norm)]
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                # timm's batch norm carries the activation with it
                after = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
                setattr(parent, second, nn.Sequential(*after))
    return replaced


@dataclass(frozen=True, slots=True)
class Settled:
    """How a model ended up: the precision of its towers, and the least cosine with fp32 of what was lowered."""

    images: str
    texts: str
    score: float

    def remark(self, wanted: str) -> str:
        """Say it as the end of a sentence."""
        if wanted == "fp32":
            return wanted
        if self.images == self.texts == wanted:
            return f"{wanted} (cosine with fp32 at least {math.floor(self.score * 1e4) / 1e4:.4f})"
        kept = "fp32" if self.images == self.texts else f"{self.images} for pictures and {self.texts} for texts"
        return f"{kept} ({wanted} would have changed the vectors)"


def settle(model: torch.nn.Module, wanted: str, pictures: Callable[[], Floats], texts: Callable[[], Floats]) -> Settled:
    """Fold what can be folded and lower the precision, each as far as the vectors stay the same.

    ``pictures`` and ``texts`` embed the made-up pictures and texts with the model as it is when they are called.
    """
    references = pictures(), texts()
    replaced = fold_batch_norms(model.get_submodule("visual"))
    if replaced and not agreement(references[0], pictures()) > _FOLDED:
        for parent, name, module in replaced:
            setattr(parent, name, module)
    if wanted == "fp32":
        return Settled(wanted, wanted, 1.0)
    kept = {name: tensor.data for name, tensor in _tensors(model)}
    model.to(torch_dtype(wanted))
    scores = [_attempt(run, reference) for run, reference in zip((pictures, texts), references, strict=True)]
    for name, tensor in _tensors(model):
        if not scores[not name.startswith("visual.")] > AGREEMENT:
            tensor.data = kept[name]
    images, words = (wanted if score > AGREEMENT else "fp32" for score in scores)
    return Settled(images, words, min((score for score in scores if score > AGREEMENT), default=1.0))


def _attempt(run: Callable[[], Floats], reference: Floats) -> float:
    try:
        return agreement(reference, run())
    except RuntimeError:  # this device has no kernel for the format
        return math.nan


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
