"""What there is to choose from: the presets, facts about any model, and fetching one before it is needed.

Backs `diptych models list|show|pull`. Prints nothing and loads no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.encoding.frame import read_frame
from indexer.encoding.hub import Progress, Store, find_file
from indexer.encoding.names import ModelName, parse_name
from indexer.encoding.plan import Plan, plan_model
from indexer.encoding.presets import COMPACT, PRESETS, RECOMMENDED, Preset
from indexer.encoding.quiet import quiet
from indexer.encoding.weights import CONFIG, HUB_WEIGHTS, find_weights, read_config
from indexer.errors import EncoderError


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model as `models list` and `models show` present it. None where a figure is not known without a download."""

    name: str
    spec: str  # what it stands for
    description: str
    licence: str
    dim: int
    side: int  # pixels
    context_length: int  # tokens
    resize_mode: str
    parameters: int | None
    size_bytes: int | None  # of the weights: on disk, or of the download
    path: Path | None  # of the weights; None: not on this machine

    @property
    def on_disk(self) -> bool:
        """Whether it can be loaded without a network."""
        return self.path is not None or self.spec.partition("?")[0].endswith("/random")


def list_models(*, cache_dir: str | None = None) -> list[ModelFacts]:
    """Give the presets, quickest first. Takes no network and imports neither torch nor open_clip."""
    return [_preset_facts(preset, cache_dir) for preset in PRESETS.values()]


def show_model(name: str, *, cache_dir: str | None = None, hub_timeout: float = 3.0) -> ModelFacts:
    """Give the facts of any model; asks the hub only for the configuration of an ``hf-hub:`` model not on disk.

    Raises:
        EncoderError: there is no such model, or its configuration is not to be had.

    """
    if name == "auto":
        recommended = _preset_facts(RECOMMENDED, cache_dir)
        return recommended if recommended.on_disk else _preset_facts(COMPACT, cache_dir)
    if name in PRESETS:
        return _preset_facts(PRESETS[name], cache_dir)
    from indexer.encoder import count_parameters, look_up  # open_clip, and so torch, from here on

    model = parse_name(name)
    with quiet():
        plan = _plan_offline(model, cache_dir, hub_timeout)
        frame = read_frame(plan.preprocess, _image_size(plan.config), letterbox=model.letterbox)
        parameters = None if "hf_model_name" in plan.config["text_cfg"] else count_parameters(plan.config)
        repo = look_up(model).repo if model.kind == "tag" else model.place
    return ModelFacts(
        name=name,
        spec=model.spec,
        description={"random": "random weights, good for measuring speed only"}.get(model.kind, "an open_clip model"),
        licence=f"see https://huggingface.co/{repo}" if model.kind in {"tag", "hub"} else "not recorded",
        dim=int(plan.config["embed_dim"]),
        side=frame.side,
        context_length=int(plan.config["text_cfg"].get("context_length", 77)),
        resize_mode=frame.resize_mode,
        parameters=parameters,
        size_bytes=plan.weights.stat().st_size if plan.weights else None,
        path=plan.weights,
    )


def pull_model(
    name: str, progress: Progress | None = None, *, cache_dir: str | None = None, hub_timeout: float = 10.0
) -> ModelFacts:
    """Fetch all files of a model into the hub's cache, so that it loads without a network from then on.

    ``progress`` is told (file, bytes so far, bytes in all). What is already on disk is not fetched again.

    Raises:
        EncoderError: there is no such model, or the hub does not answer or does not have it.

    """
    from indexer.encoder import look_up

    name = RECOMMENDED.name if name == "auto" else name
    store = Store(name, cache_dir=cache_dir, timeout=hub_timeout, progress=progress)
    with quiet():
        plan_model(parse_name(name), store, look_up)
    return show_model(name, cache_dir=cache_dir, hub_timeout=0)


def _plan_offline(model: ModelName, cache_dir: str | None, hub_timeout: float) -> Plan:
    """Plan as far as possible without the weights."""
    from indexer.encoder import look_up

    try:
        return plan_model(model, Store(model.base, cache_dir=cache_dir, timeout=0), look_up)
    except EncoderError:
        if model.kind == "tag":
            known = look_up(model)
            return Plan(model, known.config, known.preprocess, None)
        if model.kind == "hub":
            store = Store(model.base, cache_dir=cache_dir, timeout=hub_timeout)
            return Plan(model, *read_config(store.file(model.place, [CONFIG], model.revision).parent), None)
        raise


def _preset_facts(preset: Preset, cache_dir: str | None) -> ModelFacts:
    if preset is COMPACT:
        folder = Path(parse_name(preset.spec).place)
        path: Path | None = find_weights(folder)
    else:
        path = find_file(preset.repo, HUB_WEIGHTS, cache_dir=cache_dir)
    return ModelFacts(
        name=preset.name,
        spec="bundled" if preset is COMPACT else preset.spec,
        description=preset.description,
        licence=preset.licence,
        dim=preset.dim,
        side=preset.side,
        context_length=preset.context_length,
        resize_mode=preset.resize_mode,
        parameters=preset.parameters,
        size_bytes=path.stat().st_size if path else preset.download_bytes,
        path=path,
    )


def _image_size(config: dict[str, Any]) -> int | tuple[int, int]:
    size = config["vision_cfg"].get("image_size", 224)
    return size if isinstance(size, int) else (size[0], size[1])
