"""The dual encoder: pictures and texts become unit rows of one space. Every model is an open_clip model.

The only file, with ``finetune.py``, that knows open_clip: which architectures there are, and how one is built. The rest
is in ``indexer/encoding``. Loads torch and open_clip when an encoder is made, because that takes seconds.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from indexer.encoding import precision as formats
from indexer.encoding.dual import OpenClipEncoder
from indexer.encoding.hollow import hollow
from indexer.encoding.hub import Progress, Store
from indexer.encoding.names import ModelName, nearest, parse_name
from indexer.encoding.plan import Known, Plan, plan_model
from indexer.encoding.presets import COMPACT, PRESETS, RECOMMENDED
from indexer.encoding.quiet import quiet
from indexer.encoding.weights import check_readable
from indexer.errors import EncoderError

__all__ = ["OpenClipEncoder", "count_parameters", "load_encoder", "look_up"]


def load_encoder(
    name: str = "auto",
    *,
    device: str | None = None,
    precision: str | None = None,
    cache_dir: str | Path | None = None,
    letterbox: bool | None = None,
    hub_timeout: float = 3.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> OpenClipEncoder:
    """Load a model for the best device and precision there are. Spellings are in ``indexer/encoding/names.py``.

    Args:
        name: a preset, ``ARCH/TAG``, ``ARCH/random``, ``hf-hub:...``, ``local-dir:...`` or ``auto``: the recommended
            pretrained model if it is on disk or the hub answers, else the bundled compact one.
        device: ``cuda``, ``cuda:1``, ``mps``, ``cpu``; None or ``auto`` takes the best.
        precision: ``fp32``, ``bf16``, ``fp16``; None or ``auto`` takes what the device does well. A tower whose
            vectors would then differ from fp32 (cosine below 0.999) stays in fp32, and ``note`` says so.
        cache_dir: the hub's cache, if not the usual one.
        letterbox: True fits the whole picture in with bars, False cuts its middle out, None as the model was trained.
        hub_timeout: seconds the hub has to answer when a file is not on disk; 0 never asks.
        threads: number of CPU threads torch uses, in the whole process; None leaves that alone.
        progress: told (file, bytes so far, bytes in all) while something is downloaded.

    Raises:
        EncoderError: the model is unknown, damaged, or neither on disk nor to be had.

    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    cache = None if cache_dir is None else str(cache_dir)
    store = Store(name, cache_dir=cache, timeout=hub_timeout, progress=progress)
    with quiet():
        if name == "auto":
            return _load_auto(store, device, precision, letterbox=letterbox)
        plan = plan_model(parse_name(name, letterbox=letterbox), store, look_up)
        return _load(plan, name, device, precision)


def _load_auto(store: Store, device: str | None, precision: str | None, *, letterbox: bool | None) -> OpenClipEncoder:
    """Take the recommended model from disk, else from the hub, else the compact one."""
    store.model = RECOMMENDED.name
    on_disk = Store(RECOMMENDED.name, cache_dir=store.cache_dir, timeout=0)
    for source, found in ((on_disk, "already on this machine"), (store, "fetched from the hub")):
        try:
            plan = plan_model(parse_name(RECOMMENDED.name, letterbox=letterbox), source, look_up)
            why = f", the recommended model, {found}"
            return _load(plan, "auto", device, precision, why)
        except EncoderError as error:
            why = f", because {str(error).rstrip('.')}"
    if not store.online:
        why = (
            f", because the recommended {RECOMMENDED.spec} is not on this machine and the hub did not answer within "
            f"{store.timeout:g} s (`diptych models pull {RECOMMENDED.name}` fetches it)"
        )
    plan = plan_model(parse_name(COMPACT.name, letterbox=letterbox), on_disk, look_up)
    return _load(plan, "auto", device, precision, why)


def _load(plan: Plan, name: str, device: str | None, precision: str | None, why: str = "") -> OpenClipEncoder:
    place = formats.choose_device(device)
    wanted = formats.choose_precision(precision, place)
    return OpenClipEncoder(
        plan, _build(plan), _build_tokenizer(plan), name=name, device=place, precision=wanted, why=why
    )


def look_up(model: ModelName) -> Known:
    """Ask open_clip for an architecture and its pretrained tag.

    Raises:
        EncoderError: it has none such; names the nearest.

    """
    import open_clip

    config = open_clip.get_model_config(model.place)
    if config is None:
        known = [*PRESETS, "auto", *open_clip.list_models()]
        raise EncoderError(
            f"there is no model {model.place!r}{nearest(model.place, known)} (see `diptych models list`)"
        )
    if model.kind == "random":
        return Known(config, {}, "", "")
    tags = open_clip.list_pretrained_tags_by_model(model.place)
    pretrained = open_clip.get_pretrained_cfg(model.place, model.tag) if model.tag else {}
    if not pretrained:
        near = nearest(model.tag, tags) if model.tag else ""
        said = f"has no tag {model.tag!r}" if model.tag else "needs a tag"
        some = ", ".join(f"{model.place}/{tag}" for tag in [*tags[:8], "random"])
        raise EncoderError(f"{model.place} {said}{near or f'; write for example {some}'}")
    # open_clip merely warns when the activation is not the one these weights were trained with
    config["quick_gelu"] = bool(config.get("quick_gelu") or pretrained.get("quick_gelu"))
    repo, _, file = str(pretrained["hf_hub"]).rpartition("/")
    return Known(config, pretrained, repo, file)


def count_parameters(config: dict[str, Any]) -> int:
    """Count a model's parameters from its ``model_cfg``, without weights and without memory for them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _instantiate(config).parameters())


def _build(plan: Plan) -> Any:
    """Instantiate a model and load its weights, as ``open_clip.create_model`` does but from files already found."""
    import open_clip
    import torch

    config = copy.deepcopy(plan.config)
    if plan.text_model is not None:
        config["text_cfg"]["hf_model_name"] = str(plan.text_model)
    try:
        with torch.random.fork_rng(devices=[]), hollow() if plan.weights else nullcontext():
            torch.manual_seed(plan.model.seed)
            model = _instantiate(config)
    except Exception as error:
        raise EncoderError(f"{plan.model.base} cannot be built ({_reason(error)}); check its configuration") from error
    if plan.weights is not None:
        check_readable(plan.weights)
        try:
            open_clip.load_checkpoint(model, str(plan.weights), strict=True, weights_only=True)
        except Exception as error:
            raise EncoderError(
                f"the weights in {plan.weights} do not fit {plan.model.base} ({_reason(error)}); "
                "use weights and configuration of the same model"
            ) from error
    return model.eval().requires_grad_(requires_grad=False)


def _instantiate(config: dict[str, Any]) -> Any:
    import open_clip

    text = config["text_cfg"] | ({"hf_model_pretrained": False} if "hf_model_name" in config["text_cfg"] else {})
    # no tower may fetch weights of its own
    config = config | {"vision_cfg": config["vision_cfg"] | {"timm_model_pretrained": False}, "text_cfg": text}
    if not config.pop("custom_text", False) and "hf_model_name" not in text:
        return open_clip.CLIP(**config)
    return (open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP)(**config)


def _build_tokenizer(plan: Plan) -> Any:
    from open_clip import tokenizer

    text = plan.config["text_cfg"]
    length, extra = text.get("context_length", tokenizer.DEFAULT_CONTEXT_LENGTH), text.get("tokenizer_kwargs") or {}
    try:
        if plan.tokenizer is None:
            return tokenizer.SimpleTokenizer(context_length=length, **extra)
        # a configuration from the hub must not be able to ask for code from the hub
        extra = {**extra, "trust_remote_code": False, "local_files_only": True}
        return tokenizer.HFTokenizer(str(plan.tokenizer), length, tokenizer_mode=text.get("tokenizer_mode"), **extra)
    except Exception as error:
        raise EncoderError(
            f"{plan.model.base} has a tokenizer that cannot be made ({_reason(error)}); fetch the model again"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Error(s) in loading"):  # torch's heading above what matters
        del lines[0]
    return lines[0] if lines else type(error).__name__
