"""The picture tower: distilled block by block, then end to end while it also learns words.

Two stages on one trunk. `blocks`: each of the student's units learns the teacher unit's map on the teacher's own
activations, all at once and independently. `whole`: the trunk runs end to end and matches the teacher's stage maps,
pooled features and logits on the same augmented picture (function matching, Beyer et al. 2022, arXiv 2106.05237),
while its projection is contrasted with sentence vectors through a small bridge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from training.augment import augment, resize
from training.crew import Crew, Losses
from training.draw import Draw
from training.losses import multi_positive, normalised_mse, soft_cross_entropy
from training.model import units
from training.phrases import Bridge, Targets
from training.run import Stage, cosine
from training.teacher import TAPS, Teacher


@dataclass(frozen=True)
class Plan:
    """Sizes and rates. Pixels: `block_side` in `blocks`, `side` early in `whole`, `last_side` after `switch`.

    `block_batch`, `batch` and `negatives` are for each of the `workers`. In `blocks` the first `early` units, which
    cost the most and learn soonest, are trained in every `early_every`-th step only.
    """

    block_side: int = 128
    side: int = 128
    last_side: int = 128
    teacher_side: int = 160
    switch: float = 0.75
    workers: int = 2
    batch: int = 24
    negatives: int = 512
    block_batch: int = 16
    early: int = 6
    early_every: int = 3
    block_rate: float = 3e-3
    whole_rate: float = 1e-3
    strength: float = 0.3


@dataclass(frozen=True)
class Job:
    """One worker's share of a step: pixels uint8 [n, h, w, 3], phrase ids of theirs [n] and of others, a seed."""

    pixels: Tensor
    near: Tensor
    far: Tensor
    seed: int

    def augmented(self, side: int, strength: float) -> Tensor:
        """Float32 [n, 3, side, side]; the same picture every time it is asked for."""
        return augment(self.pixels, side, strength, torch.Generator().manual_seed(self.seed))


def optimiser(modules: list[nn.Module], rate: float) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only."""
    values = [value for module in modules for value in module.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in values if value.ndim > 1], "weight_decay": 0.02},
        {"params": [value for value in values if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group's learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def _jobs(draw: Draw, plan: Plan, batch: int) -> list[Job]:
    made = []
    for _ in range(plan.workers):
        ids = draw.ids(batch)
        far = draw.texts(draw.ids(plan.negatives))
        seed = int(torch.randint(2**31, (), generator=draw.generator))
        made.append(Job(draw.pixels(ids), draw.texts(ids), far, seed))
    return made


def train_blocks(
    stage: Stage, trunk: Any, optim: torch.optim.Optimizer, teacher: Teacher, draw: Draw, plan: Plan
) -> None:
    """Each unit learns its counterpart on the teacher's activations."""

    def losses(trunk: Any, job: Job, *, skip: int) -> Losses:
        pictures = job.augmented(plan.block_side, plan.strength)
        theirs = teacher.maps(pictures)
        ours = units(trunk)
        with torch.autocast("cpu", torch.bfloat16):
            each = [
                normalised_mse(unit(here), target)
                for unit, here, target in list(zip(ours, [pictures, *theirs[:-1]], theirs, strict=True))[skip:]
            ]
        return {"loss": torch.stack(each).sum(), "last": each[-1], "mean": torch.stack(each).mean()}

    trunk.train()
    crew = Crew(trunk, plan.workers)
    while stage.progress < 1:
        set_rate(optim, plan.block_rate * cosine(stage.progress))
        skip = 0 if stage.step % plan.early_every == 0 else plan.early
        found = crew.gradients(partial(losses, skip=skip), _jobs(draw, plan, plan.block_batch))
        optim.step()
        stage.tick(found)


def words_losses(vectors: Tensor, job: Job, words: Targets, bridge: Bridge, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast of pictures [n, dim] with their texts among others', and with the teacher's class names."""
    every = torch.cat([job.near, job.far])
    meaning = torch.from_numpy(words.phrases.meaning)[every]
    scale = bridge.log_scale.exp().clamp(max=100)
    positive = meaning[: len(job.near), None] == meaning[None, :]
    pair = multi_positive(scale * vectors @ bridge(words.plain[every]).T, positive)
    return pair, soft_cross_entropy(scale * vectors @ bridge(words.names).T, logits)


def train_whole(
    stage: Stage, visual: Any, bridge: Bridge, optim: torch.optim.Optimizer, teacher: Teacher, draw: Draw, plan: Plan
) -> None:
    """The trunk end to end: maps, features, logits and words."""

    def losses(both: Any, job: Job, *, late: bool) -> Losses:
        visual, bridge = both["visual"], both["bridge"]
        clear = job.augmented(plan.teacher_side if late else plan.side, plan.strength)
        here = resize(clear, plan.last_side) if late else clear
        theirs, maps = teacher.maps(clear), torch.zeros(())
        with torch.autocast("cpu", torch.bfloat16):
            for number, unit in enumerate(units(visual.trunk)):
                here = unit(here)
                if number in TAPS and not late:
                    maps = maps + normalised_mse(here, theirs[number]) / len(TAPS)
        mine, pooled = here.float().mean((2, 3)), theirs[-1].float().mean((2, 3))
        logits = teacher.logits(pooled)
        feature = normalised_mse(mine - mine.mean(0), pooled - pooled.mean(0))
        vectors = nn.functional.normalize(visual.head(mine), dim=-1)
        pair, name = words_losses(vectors, job, draw.targets, bridge, logits)
        label = soft_cross_entropy(teacher.logits(mine), logits)
        loss = maps + 1.5 * feature + 0.5 * normalised_mse(mine, pooled) + 0.5 * label + 0.3 * pair + 0.2 * name
        return {"loss": loss, "maps": maps, "feature": feature, "label": label, "pair": pair, "name": name}

    both = nn.ModuleDict({"visual": visual, "bridge": bridge}).train()
    crew = Crew(both, plan.workers)
    while stage.progress < 1:
        late = stage.progress > plan.switch
        set_rate(optim, plan.whole_rate * cosine(stage.progress))
        found = crew.gradients(partial(losses, late=late), _jobs(draw, plan, plan.batch))
        nn.utils.clip_grad_norm_(both.parameters(), 5.0)
        optim.step()
        stage.tick(found)
