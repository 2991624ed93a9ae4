"""The four short names: which model each stands for, what it costs and under which licence.

Knows names and figures, not how to load anything. Why these were chosen: docs/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

COMPACT_FOLDER = Path(__file__).resolve().parent.parent / "compact"


@dataclass(frozen=True, slots=True)
class Preset:
    """One recommended model. ``spec`` is what it stands for; sizes are of the downloaded files."""

    name: str
    spec: str
    description: str
    licence: str
    dim: int
    side: int
    context_length: int
    resize_mode: str
    parameters: int
    download_bytes: int
    repo: str = ""  # where the weights and the tokenizer are; empty: bundled


COMPACT = Preset(
    name="compact",
    spec=f"local-dir:{COMPACT_FOLDER}",
    description="bundled, needs no network, quick on any CPU; knows everyday things, best for small catalogues",
    licence="as Diptych itself",
    dim=384,
    side=128,
    context_length=48,
    resize_mode="longest",
    parameters=17_000_000,
    download_bytes=0,
)
BALANCED = Preset(
    name="balanced",
    spec="ViT-B-16-SigLIP2/webli",
    description="the recommended pretrained model: many languages, fair speed on a CPU, quick on a GPU",
    licence="Apache-2.0",
    dim=768,
    side=224,
    context_length=64,
    resize_mode="squash",
    parameters=375_000_000,
    download_bytes=1_535_000_000,
    repo="timm/ViT-B-16-SigLIP2",
)
BEST = Preset(
    name="best",
    spec="ViT-SO400M-16-SigLIP2-384/webli",
    description="the most exact model that fits an ordinary GPU; slow on a CPU",
    licence="Apache-2.0",
    dim=1152,
    side=384,
    context_length=64,
    resize_mode="squash",
    parameters=1_136_000_000,
    download_bytes=4_580_000_000,
    repo="timm/ViT-SO400M-16-SigLIP2-384",
)

PRESETS = {preset.name: preset for preset in (COMPACT, BALANCED, BEST)}
RECOMMENDED = BALANCED
