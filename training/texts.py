"""The text tower, trained against pictures whose trunk features are cached (LiT, Zhai et al. 2022, arXiv 2111.07991).

Besides the contrast with pictures, two things widen the tower's words beyond the captions: the bridge's vectors (a
sentence encoder seen through the space pictures share) are targets for captions and for the whole vocabulary, and the
picture teacher's class names must sort pictures as its logits do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.augment import augment, to_unit
from training.draw import Draw
from training.losses import both_ways, soft_cross_entropy
from training.model import features, folded
from training.phrases import Bridge, Targets
from training.pictures import set_rate
from training.rows import Rows
from training.run import Stage, cosine
from training.words import TEMPLATES, vocabulary_words


@dataclass(frozen=True)
class TextPlan:
    """Sizes and rates of the text stage. `names` and `vocabulary` are drawn anew in every step."""

    batch: int = 512
    names: int = 200
    vocabulary: int = 200
    rate: float = 2e-3
    noise: float = 0.15


@lru_cache(maxsize=1)
def _tokeniser() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@lru_cache(maxsize=1_000_000)
def _pieces(text: str) -> tuple[int, ...]:
    return tuple(_tokeniser().encode(text))


def tokens(texts: Sequence[str], context: int) -> Tensor:
    """CLIP byte-pair ids int64 [n, longest], as open_clip makes them but without columns that hold only padding."""
    start, end = _tokeniser().sot_token_id, _tokeniser().eot_token_id
    rows = [[start, *_pieces(text)[: context - 2], end] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def encode(model: Any, ids: Tensor) -> Tensor:
    """Unit text vectors float32 [n, dim] of ids [n, length], length up to the context."""
    length = ids.shape[1]
    with torch.autocast("cpu", torch.bfloat16):
        here = model.token_embedding(ids) + model.positional_embedding[:length]
        here = model.transformer(here, attn_mask=model.attn_mask[:length, :length])
    here = model.ln_final(here.float())[torch.arange(len(ids)), ids.argmax(1)]
    return nn.functional.normalize(here @ model.text_projection, dim=-1)


def encode_texts(model: Any, texts: Sequence[str], pieces: int = 6) -> Tensor:
    """Unit text vectors float32 [n, dim], encoded in `pieces` of like length so that little padding is computed."""
    order = sorted(range(len(texts)), key=lambda i: len(_pieces(texts[i])))
    size = -(-len(texts) // pieces)
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    found = [encode(model, tokens([texts[i] for i in part], model.context_length)) for part in parts]
    return torch.cat(found)[torch.tensor(order).argsort()]


def prompted(texts: Sequence[str], generator: torch.Generator, share: float = 0.7) -> list[str]:
    """Each class name in a template drawn at random, or bare with chance 1 - `share`."""
    dice = torch.rand(len(texts), 2, generator=generator).tolist()
    return [
        TEMPLATES[int(which * len(TEMPLATES))].format(text) if roll < share else text
        for text, (roll, which) in zip(texts, dice, strict=True)
    ]


def picture_features(trunk: nn.Module, rows: Rows, ids: Tensor, side: int, file: Path, strength: float = 0.0) -> Tensor:
    """Pooled trunk features float16 [m, 1280] of rows `ids` [m], kept in `file`; augmented if `strength` is not 0."""
    if not file.exists():
        torch.save(torch.cat(list(_all_features(trunk, rows, ids, side, strength))), file)
    return torch.as_tensor(torch.load(file, weights_only=True))


def _all_features(
    trunk: nn.Module, rows: Rows, ids: Tensor, side: int, strength: float, batch: int = 64, workers: int = 2
) -> Iterator[Tensor]:
    trunk = folded(trunk)

    def one(part: Tensor) -> Tensor:
        pixels = torch.from_numpy(np.asarray(rows.pixels[part.numpy()]))
        generator = torch.Generator().manual_seed(int(part[0]))
        pictures = augment(pixels, side, strength, generator) if strength else to_unit(pixels)
        with torch.inference_mode():
            return features(trunk, pictures.contiguous(memory_format=torch.channels_last)).half()

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, torch.split(ids, batch))


@dataclass(frozen=True)
class Views:
    """Cached features [m, 1280] of rows `ids` [m] (a row may come several times), and where each row's views lie."""

    features: Tensor
    of_row: list[list[int]]

    @classmethod
    def join(cls, parts: Sequence[tuple[Tensor, Tensor]], count: int) -> Views:
        """From (row ids, features) pairs for `count` rows in all."""
        of_row: list[list[int]] = [[] for _ in range(count)]
        for place, row in enumerate(torch.cat([ids for ids, _ in parts]).tolist()):
            of_row[row].append(place)
        return cls(torch.cat([values for _, values in parts]), of_row)

    def draw(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """One view of each row, float32 [n, 1280]."""
        dice = torch.rand(len(ids), generator=generator).tolist()
        places = [
            self.of_row[row][int(roll * len(self.of_row[row]))] for row, roll in zip(ids.tolist(), dice, strict=True)
        ]
        return self.features[places].float()


def _spoken(words: Targets, ids: Tensor, generator: torch.Generator) -> list[str]:
    texts = [words.phrases.texts[int(i)] for i in ids]
    dressed = prompted(texts, generator)
    return [new if words.phrases.is_class[int(i)] else old for i, old, new in zip(ids, texts, dressed, strict=True)]


def train_texts(
    stage: Stage,
    model: Any,
    bridge: Bridge,
    optim: torch.optim.Optimizer,
    views: Views,
    head: nn.Module,
    names: Sequence[str],
    draw: Draw,
    plan: TextPlan,
) -> None:
    """Text tower, projection and bridge together on cached features; `head` gives the picture teacher's logits."""
    words = draw.targets
    vocabulary = vocabulary_words()
    spread = views.features[:: max(1, len(views.features) // 4096)].float().std(0)
    model.train()
    while stage.progress < 1:
        set_rate(optim, plan.rate * cosine(stage.progress))
        ids = draw.ids(plan.batch)
        raw = views.draw(ids, stage.generator)
        noise = plan.noise * spread * torch.randn(raw.shape, generator=stage.generator)
        pictures = nn.functional.normalize(model.visual.head(raw + noise), dim=-1)
        said = draw.texts(ids)
        some = torch.randperm(len(names), generator=stage.generator)[: plan.names]
        odd = torch.randint(len(vocabulary), (plan.vocabulary,), generator=stage.generator)
        captions = _spoken(words, said, stage.generator)
        short = [*prompted([names[i] for i in some], stage.generator), *(vocabulary[i] for i in odd)]
        every = encode_texts(model, [*captions, *short])
        texts, extra = every[: len(captions)], every[len(captions) :]
        scale = model.logit_scale.exp()
        meaning = torch.from_numpy(words.phrases.meaning)[said]
        positive = (meaning[:, None] == meaning) | (ids[:, None] == ids)
        pair = both_ways(pictures, texts, positive, scale)
        aim = bridge(words.plain[said])
        spoken = both_ways(pictures, aim, positive, bridge.log_scale.exp())
        with torch.no_grad():
            wanted = head(raw)[:, 1:][:, some]
        name = soft_cross_entropy(scale * pictures @ extra[: len(some)].T, wanted)
        goal = torch.cat([aim, bridge(words.names[some]), bridge(words.vocabulary[odd])]).detach()
        near = 1 - (every * goal).sum(1).mean()
        loss = pair + 0.5 * spoken + 0.3 * name + 2.0 * near
        optim.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optim.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6052)  # a factor of 1 to 100, as in CLIP
        stage.tick(
            {
                "loss": loss.item(),
                "pair": pair.item(),
                "spoken": spoken.item(),
                "name": name.item(),
                "near": near.item(),
            }
        )
