"""Batched picture augmentation on tensors: crop, flip, stretch and colour, for letterboxed pictures on white."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in [-1, 1], channels last in memory; white is 1."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def resize(pictures: Tensor, side: int) -> Tensor:
    """[n, 3, h, w] -> [n, 3, side, side], smoothed when it shrinks."""
    if pictures.shape[-1] == side:
        return pictures
    return functional.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def warp(pictures: Tensor, side: int, strength: float, generator: torch.Generator) -> Tensor:
    """Random zoom, shift, stretch and flip in one resampling; what falls outside is white. strength 0..1."""
    count = len(pictures)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    zoom = torch.exp(draw(-0.65 * strength, 0.12 * strength))  # below 1: a part of the picture fills the frame
    stretch = torch.exp(draw(-0.15 * strength, 0.15 * strength))
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    room = (1.0 - zoom).abs()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = zoom * stretch * flip, zoom / stretch
    theta[:, 0, 2], theta[:, 1, 2] = draw(-1, 1) * room, draw(-1, 1) * room
    grid = functional.affine_grid(theta, [count, 3, side, side], align_corners=False)
    return (
        functional.grid_sample(pictures - 1.0, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 1.0
    )


def jitter(pictures: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation, each by up to a third of `strength`; white paper stays near white."""
    count = len(pictures)

    def draw() -> Tensor:
        return 1.0 + strength / 3 * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)

    unit = (pictures + 1.0) / 2
    grey = unit.mean(1, keepdim=True)
    unit = (grey + (unit - grey) * draw()) * draw()
    middle = unit.mean((1, 2, 3), keepdim=True)
    return ((middle + (unit - middle) * draw()).clamp(0, 1)) * 2 - 1.0


def augment(pixels: Tensor, side: int, strength: float, generator: torch.Generator) -> Tensor:
    """uint8 [n, h, w, 3] -> augmented float32 [n, 3, side, side] in [-1, 1], channels last in memory."""
    pictures = warp(to_unit(pixels), side, strength, generator)
    return jitter(pictures, strength, generator).contiguous(memory_format=torch.channels_last)
