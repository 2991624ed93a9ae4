"""Measures an open_clip folder on the dev table: `python -m training.measure --model DIR --data DIR`.

Per source: text-to-image recall at 1 and 10 where pictures have captions or titles of their own, zero-shot top-1 and
top-5 where they have class names; then images per second in each precision, and how far the precisions agree.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

from training.model import load_folder
from training.rows import Row, tables
from training.run import keep_memory
from training.texts import encode, tokens
from training.words import ENSEMBLE, clean

CAPTIONED = frozenset({"flickr8k", "fashion"})


@dataclass(frozen=True)
class Figures:
    """One source's figures, in per cent; None where they do not apply."""

    source: str
    rows: int
    classes: int
    recall1: float | None = None
    recall10: float | None = None
    top1: float | None = None
    top5: float | None = None


def first_right(scores: Tensor, right: Tensor) -> Tensor:
    """Rank (0 is best) of the best right answer in each row of scores [n, m], with right bool [n, m]."""
    best = scores.masked_fill(~right, float("-inf")).max(1, keepdim=True).values
    return (scores > best).sum(1)


def within(ranks: Tensor, k: int) -> float:
    """Per cent of ranks below k."""
    return 100 * (ranks < k).float().mean().item()


def transform(folder: Path) -> Any:
    """The preprocessing open_clip itself makes of the folder's config."""
    import open_clip

    return open_clip.create_model_and_transforms(f"local-dir:{folder}")[2]


@torch.inference_mode()
def picture_vectors(model: Any, pictures: Tensor, batch: int = 64) -> Tensor:
    """Unit rows float32 [n, dim] of pictures [n, 3, side, side], in the model's own precision."""
    kind = next(model.visual.parameters()).dtype
    parts = [
        model.visual(part.to(kind, memory_format=torch.channels_last)).float() for part in torch.split(pictures, batch)
    ]
    return nn.functional.normalize(torch.cat(parts), dim=-1)


@torch.inference_mode()
def text_vectors(model: Any, texts: Sequence[str], batch: int = 256) -> Tensor:
    """Unit rows float32 [n, dim]."""
    parts = [tokens(texts[i : i + batch], model.context_length) for i in range(0, len(texts), batch)]
    return torch.cat([encode(model, part) for part in parts])


def class_vectors(model: Any, names: Sequence[str]) -> Tensor:
    """One unit row for each class, the mean over the prompt ensemble, [n, dim]."""
    each = [text_vectors(model, [prompt.format(name) for name in names]) for prompt in ENSEMBLE]
    return nn.functional.normalize(torch.stack(each).mean(0), dim=-1)


def measure_source(model: Any, source: str, rows: Sequence[Row], vectors: Tensor) -> Figures:
    """Recall of every caption (a product's first title) among the source's pictures, or zero-shot accuracy."""
    if source in CAPTIONED:
        pairs = [
            (clean(text), place)
            for place, row in enumerate(rows)
            for text in (row.texts if source == "flickr8k" else row.texts[:1])
        ]
        owner = torch.tensor([place for _, place in pairs])
        scores = text_vectors(model, [text for text, _ in pairs]) @ vectors.T
        ranks = first_right(scores, owner[:, None] == torch.arange(len(rows)))
        return Figures(source, len(rows), 0, recall1=within(ranks, 1), recall10=within(ranks, 10))
    names = sorted({clean(row.label) for row in rows})
    right = torch.tensor([names.index(clean(row.label)) for row in rows])
    scores = vectors @ class_vectors(model, names).T
    ranks = first_right(scores, right[:, None] == torch.arange(len(names)))
    return Figures(source, len(rows), len(names), top1=within(ranks, 1), top5=within(ranks, 5))


def read(data: Path, split: str, preprocess: Any) -> tuple[list[Row], Tensor]:
    """Rows of a split and their preprocessed pictures float32 [n, 3, side, side]."""
    rows, pictures = [], []
    for table in tables(data, split):
        for row in pq.read_table(table).to_pylist():
            rows.append(Row(row["source"], row["label"], tuple(row["texts"])))
            with Image.open(io.BytesIO(row["image"])) as picture:
                pictures.append(preprocess(picture.convert("RGB")))
    return rows, torch.stack(pictures)


def measure(model: Any, rows: Sequence[Row], pictures: Tensor) -> list[Figures]:
    """Figures for each source, in alphabetical order."""
    vectors, found = picture_vectors(model, pictures), []
    for source in sorted({row.source for row in rows}):
        mine = [i for i, row in enumerate(rows) if row.source == source]
        found.append(measure_source(model, source, [rows[i] for i in mine], vectors[mine]))
    return found


def throughput(model: Any, pictures: Tensor, seconds: float = 8.0, batch: int = 32) -> float:
    """Pictures per second on ready tensors, after two batches to warm up."""
    chunk = pictures[:batch].contiguous(memory_format=torch.channels_last)
    picture_vectors(model, chunk, batch)
    picture_vectors(model, chunk, batch)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        picture_vectors(model, chunk, batch)
        count += len(chunk)
    return count / (time.perf_counter() - start)


def table(figures: Sequence[Figures]) -> str:
    """A Markdown table."""

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    columns = ["source", "rows", "classes", "text-to-image R@1", "R@10", "zero-shot top-1", "top-5"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in figures:
        cells = [cell(value) for value in (row.recall1, row.recall10, row.top1, row.top5)]
        lines.append(f"| {row.source} | {row.rows} | {row.classes or ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(folder: Path, data: Path, split: str = "dev", seconds: float = 8.0) -> str:
    """The whole report in Markdown. Throughput is skipped when `seconds` is 0."""
    keep_memory()
    model: Any = load_folder(folder)
    rows, pictures = read(data, split, transform(folder))
    parts = [table(measure(model, rows, pictures))]
    some = pictures[:: max(1, len(pictures) // 512)]
    whole = picture_vectors(model, some)
    speeds = [("fp32", throughput(model, pictures, seconds))] if seconds else []
    model.visual.bfloat16()
    cosine = (whole * picture_vectors(model, some)).sum(1)
    speeds += [("bf16", throughput(model, pictures, seconds))] if seconds else []
    parts.append(f"fp32 against bf16, {len(some)} pictures: cosine mean {cosine.mean():.5f}, least {cosine.min():.5f}")
    parts += [f"{kind}: {rate:.0f} images/s, {torch.get_num_threads()} threads" for kind, rate in speeds]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.measure", description="Measure a compact encoder.")
    parser.add_argument("--model", type=Path, required=True, help="open_clip folder, e.g. indexer/compact")
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.parquet")
    parser.add_argument("--split", default="dev", help="dev (default) or train")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds for each throughput; 0 skips it")
    chosen = parser.parse_args(arguments)
    print(report(chosen.model, chosen.data, chosen.split, chosen.seconds))


if __name__ == "__main__":
    main()
