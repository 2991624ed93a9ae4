"""Trains the bundled compact encoder from random weights: `python -m training.compact --data DIR --out DIR`.

Stages, each with a checkpoint in the out folder and skipped or taken up when it is there:

1. decode pictures to a memory-mapped array, and compute sentence vectors of every phrase;
2. `blocks`: the picture trunk distilled block by block, then `whole`: end to end, with words;
3. trunk features of all rows cached, then `texts`: text tower and projections on them;
4. `model/`: an open_clip folder with fp16 weights, `metrics.json`, and a curve `<stage>.csv` for each stage.

`--minutes` is the time for stages 2 and 3's training (caching comes on top); `--small` is a run of a couple of minutes
on a few hundred rows that proves the recipe, not the model.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import teacher as teachers
from training.draw import Draw
from training.model import build, save_folder
from training.phrases import Bridge, targets
from training.pictures import Plan, optimiser, train_blocks, train_whole
from training.rows import CACHE_SIDE, Rows, cache
from training.run import Budget, Stage, keep_memory
from training.texts import TextPlan, Views, picture_features, train_texts

log = logging.getLogger("training.compact")

SHARES = {"blocks": 0.40, "whole": 0.37, "texts": 0.23}
SMALL_STEPS = {"blocks": 8, "whole": 8, "texts": 20}

# Sources whose pictures are varied and few enough that a second, augmented view is worth its time.
TWICE = frozenset({"clothing", "grocery", "furniture", "scenes", "houses", "imagenette", "imagewoof"})


@dataclass(frozen=True)
class Recipe:
    """What one run does: budgets by stage, row limit (None: all), rows of a source to cache, the two plans."""

    budgets: dict[str, Budget]
    limit: int | None = None
    views: int = 6_600
    pictures: Plan = Plan()
    texts: TextPlan = TextPlan()


def full(minutes: float) -> Recipe:
    """All rows, `minutes` shared among the stages."""
    return Recipe({name: Budget(minutes=minutes * share) for name, share in SHARES.items()})


def small() -> Recipe:
    """A few hundred rows and a few steps at small sizes."""
    plan = Plan(block_side=64, side=64, last_side=96, teacher_side=96, block_batch=8, batch=8, negatives=32)
    budgets = {name: Budget(steps=steps) for name, steps in SMALL_STEPS.items()}
    return Recipe(budgets, limit=400, pictures=plan, texts=TextPlan(batch=64, names=50, vocabulary=50))


def _stage(name: str, out: Path, recipe: Recipe, seed: int, **state: Any) -> Stage:
    generator = torch.Generator().manual_seed(seed)
    stage = Stage(name, out, recipe.budgets[name], state, generator)
    log.info("%s: %s at step %d", name, "resumed" if stage.resume() else "started", stage.step)
    return stage


def _views(trunk: Any, rows: Rows, out: Path, side: int, most: int) -> tuple[Views, torch.Tensor]:
    """Cached features and the rows they are of: at most `most` of each source, spread evenly."""
    kept: list[int] = []
    for source in sorted({row.source for row in rows.words}):
        mine = [i for i, row in enumerate(rows.words) if row.source == source]
        kept += mine[:: -(-len(mine) // most)]
    once = torch.tensor(sorted(kept))
    twice = torch.tensor([i for i in sorted(kept) if rows.words[i].source in TWICE], dtype=torch.long)
    plain = picture_features(trunk, rows, once, side, out / "features.pt")
    moved = picture_features(trunk, rows, twice, side, out / "features-moved.pt", strength=0.5)
    return Views.join([(once, plain), (twice, moved)], len(rows)), once


def train(data: Path, out: Path, recipe: Recipe, seed: int = 0) -> dict[str, Any]:
    """Runs the recipe; returns the metrics it also writes to `out/metrics.json`. The model is in `out/model`."""
    keep_memory()
    torch.manual_seed(seed)
    threads = torch.get_num_threads()
    log.info("decoding")
    rows = cache(data, "train", out / "cache", CACHE_SIDE, recipe.limit)
    teacher = teachers.load(data)
    words = targets(rows.words, teacher.names, out / "cache" / "phrases.pt")
    model: Any = build()
    bridge = Bridge(model.visual.head.proj.out_features)
    plan = recipe.pictures

    torch.set_num_threads(1)  # the crew's workers are the parallelism until features are cached
    optim = optimiser([model.visual.trunk], plan.block_rate)
    stage = _stage("blocks", out, recipe, seed + 1, trunk=model.visual.trunk, optim=optim)
    train_blocks(stage, model.visual.trunk, optim, teacher, Draw(rows, words, stage.generator), plan)
    metrics: dict[str, Any] = {"blocks": stage.summary()}

    optim = optimiser([model.visual, bridge], plan.whole_rate)
    stage = _stage("whole", out, recipe, seed + 2, visual=model.visual, bridge=bridge, optim=optim)
    train_whole(stage, model.visual, bridge, optim, teacher, Draw(rows, words, stage.generator), plan)
    metrics["whole"] = stage.summary()

    log.info("caching picture features")
    views, once = _views(model.visual.trunk, rows, out, plan.last_side, recipe.views)
    torch.set_num_threads(threads)
    model.visual.trunk.requires_grad_(False)
    optim = optimiser([model, bridge], recipe.texts.rate)
    stage = _stage("texts", out, recipe, seed + 3, model=model, bridge=bridge, optim=optim)
    draw = Draw(rows, words, stage.generator, once)
    train_texts(stage, model, bridge, optim, views, teacher.head, teacher.names, draw, recipe.texts)
    metrics["texts"] = stage.summary()
    save_folder(model, out / "model")
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.compact", description="Train the compact encoder.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.parquet and teachers/")
    parser.add_argument("--out", type=Path, required=True, help="folder for caches, checkpoints and the model")
    parser.add_argument("--minutes", type=float, default=44.0, help="training time, caching not counted (default 44)")
    parser.add_argument("--small", action="store_true", help="a couple of minutes on a few hundred rows")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    metrics = train(chosen.data, chosen.out, small() if chosen.small else full(chosen.minutes))
    log.info("%s", json.dumps(metrics))


if __name__ == "__main__":
    main()
