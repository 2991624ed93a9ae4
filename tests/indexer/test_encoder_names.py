"""Finding a model: spellings, the hub that may not answer, `auto`, and files that are damaged or missing."""

from __future__ import annotations

import json
import pickle
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest

import indexer.encoder as encoder_module
from indexer.encoder import load_encoder
from indexer.encoding import hub, weights
from indexer.encoding.names import parse_name
from indexer.encoding.presets import BALANCED, BEST, COMPACT, Preset
from indexer.errors import EncoderError
from tests.indexer.encoder_models import CONV, VIT, WEIGHTS, put_in_cache, write_model


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads make small models slower, on a busy machine very much so."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_model(tmp_path_factory.mktemp("models") / "vit", VIT)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_answers", lambda timeout: False)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("compact", "compact"),
        ("balanced", BALANCED.spec),
        ("best", BEST.spec),
        (f"local-dir:{Path(COMPACT.spec.removeprefix('local-dir:'))}/", "compact"),
        ("ViT-B-32__laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k"),
        (" ViT-B-32/laion2b_s34b_b79k ", "ViT-B-32/laion2b_s34b_b79k"),
        ("ViT-B-32/random", "ViT-B-32/random?seed=0"),
        ("ViT-B-32/random?letterbox=1&seed=7", "ViT-B-32/random?seed=7&letterbox=1"),
        ("compact?letterbox=0", "compact?letterbox=0"),
        ("hf-hub:timm/ViT-B-16-SigLIP2", "hf-hub:timm/ViT-B-16-SigLIP2"),
        ("hf-hub:a/b.c@v1.2?letterbox=1", "hf-hub:a/b.c@v1.2?letterbox=1"),
        ("local-dir:/a/b/../what?", "local-dir:/a/what?"),
    ],
)
def test_spellings(name: str, spec: str) -> None:
    assert parse_name(name).spec == spec
    assert parse_name(spec).spec == spec


def test_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_name("local-dir:models/mine").spec == f"local-dir:{tmp_path}/models/mine"
    assert parse_name("local-dir:~/mine").spec == "local-dir:/home/somebody/mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ViT-B32/laion", "there is no model 'ViT-B32'; did you mean ViT-B-32, "),
        ("ballanced", "there is no model 'ballanced'; did you mean balanced? (see `diptych models list`)"),
        ("qqqqqq", "there is no model 'qqqqqq' (see `diptych models list`)"),
        ("ViT-B-32/laion2b_s34b", "ViT-B-32 has no tag 'laion2b_s34b'; did you mean laion2b_s34b_b79k"),
        ("ViT-B-32", "ViT-B-32 needs a tag; write for example ViT-B-32/openai, "),
        ("compact?seed=1", "'compact?seed=1' gives a seed, which only ARCH/random has; leave the seed out"),
        ("./mine", "'./mine' is not the name of a model; a folder is written local-dir:./mine"),
        ("", "'' is not the name of a model; a folder is written local-dir:PATH"),
        ("local-dir:", "local-dir: names no folder; write local-dir:PATH"),
        ("hf-hub:mine", "hf-hub:mine names no repository; write hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION"),
        ("local-dir:/no/where", "there is no folder /no/where; write local-dir:PATH with the folder of an open_clip"),
    ],
)
def test_what_is_no_model(name: str, sentence: str) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder(name)
    assert str(caught.value).startswith(sentence)


@pytest.mark.usefixtures("offline")
def test_not_on_disk_and_no_hub(tmp_path: Path) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder("ViT-B-32/laion2b_s34b_b79k", cache_dir=tmp_path, hub_timeout=2)
    assert str(caught.value) == (
        "'ViT-B-32/laion2b_s34b_b79k' needs files of hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K that are not on this "
        "machine, and the hub did not answer within 2 s; run `diptych models pull ViT-B-32/laion2b_s34b_b79k` where "
        "there is a network, or use `--model compact`"
    )


@pytest.mark.usefixtures("offline")
def test_a_hub_model_on_disk_needs_no_hub(folder: Path, tmp_path: Path) -> None:
    snapshot = put_in_cache(tmp_path, "org/tiny", folder)
    encoder = load_encoder("hf-hub:org/tiny", cache_dir=tmp_path, device="cpu")
    assert encoder.spec == "hf-hub:org/tiny"
    # the name of the cache's file is its hash, so nothing was read twice; and it is the same model as in the folder
    assert encoder.fingerprint == load_encoder(f"local-dir:{folder}", device="cpu").fingerprint
    assert weights.weights_hash(snapshot / WEIGHTS) == weights.weights_hash(folder / WEIGHTS)


def recommend(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    preset = Preset("balanced", spec, "", "", 24, 64, 16, "shortest", 1, 1)
    monkeypatch.setattr(encoder_module, "RECOMMENDED", preset)
    monkeypatch.setattr("indexer.encoding.names.PRESETS", {"balanced": preset, "compact": COMPACT})


@pytest.mark.usefixtures("offline")
def test_auto_takes_what_is_on_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_cache(tmp_path, "org/tiny", folder)
    recommend(monkeypatch, "hf-hub:org/tiny")
    encoder = load_encoder("auto", cache_dir=tmp_path, device="cpu", precision="fp32")
    assert (encoder.name, encoder.spec) == ("auto", "hf-hub:org/tiny")
    assert encoder.note == "hf-hub:org/tiny, the recommended model, already on this machine; on cpu in fp32."


def test_auto_fetches_when_the_hub_answers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommend(monkeypatch, "hf-hub:org/tiny")
    monkeypatch.setattr(hub, "hub_answers", lambda timeout: timeout > 0)
    told: list[tuple[str, int, int]] = []

    def download(repo: str, name: str, *, cache_dir: str, tqdm_class: Any, **_: Any) -> str:
        if not (tmp_path / "models--org--tiny").exists():
            put_in_cache(tmp_path, "org/tiny", folder)
        with tqdm_class(total=10, desc=name, name="huggingface_hub.http_get") as bar:
            bar.update(4)
            bar.update(6)
        return str(tmp_path / "models--org--tiny" / "snapshots" / ("c" * 40) / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    encoder = load_encoder(cache_dir=tmp_path, device="cpu", precision="fp32", progress=lambda *step: told.append(step))
    assert encoder.note == "hf-hub:org/tiny, the recommended model, fetched from the hub; on cpu in fp32."
    assert told[:2] == [("open_clip_config.json", 4, 10), ("open_clip_config.json", 10, 10)]


@pytest.mark.usefixtures("offline")
def test_auto_falls_back_to_compact(tmp_path: Path) -> None:
    encoder = load_encoder(cache_dir=tmp_path, device="cpu", precision="fp32", hub_timeout=1.5)
    assert (encoder.name, encoder.spec) == ("auto", "compact")
    assert encoder.note == (
        f"compact, because the recommended {BALANCED.spec} is not on this machine and the hub did not answer within "
        "1.5 s (`diptych models pull balanced` fetches it); on cpu in fp32."
    )


def test_auto_says_when_a_download_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommend(monkeypatch, "hf-hub:org/tiny")
    monkeypatch.setattr(hub, "hub_answers", lambda timeout: timeout > 0)

    def download(*_: Any, **__: Any) -> str:
        raise OSError("connection reset")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_encoder(cache_dir=tmp_path, device="cpu", precision="fp32").note == (
        "compact, because downloading hf-hub:org/tiny failed (connection reset); try again, what has arrived is kept; "
        "on cpu in fp32."
    )


def test_the_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asleep:
        def head(self, *_: Any, **__: Any) -> SimpleNamespace:
            time.sleep(1)
            return SimpleNamespace(status_code=200)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Asleep)
    began = time.monotonic()
    assert not hub.hub_answers(0.1)
    assert time.monotonic() - began < 0.8
    assert hub.hub_answers(5)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not hub.hub_answers(5)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def complaint(folder: Path) -> str:
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"local-dir:{folder}", device="cpu")
    return str(caught.value)


def test_a_folder_without_its_parts(broken: Path) -> None:
    (broken / WEIGHTS).rename(broken / "one.safetensors")
    (broken / "two.safetensors").write_bytes(b"")
    assert complaint(broken) == (
        f"{broken} has several files of weights (one.safetensors, two.safetensors); "
        "name the right one open_clip_model.safetensors"
    )
    (broken / "one.safetensors").unlink()
    (broken / "two.safetensors").unlink()
    assert complaint(broken) == (
        f"{broken} has no weights; put open_clip_model.safetensors beside its open_clip_config.json"
    )
    (broken / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 3}}')
    assert "has no model_cfg with embed_dim, vision_cfg and text_cfg" in complaint(broken)
    (broken / "open_clip_config.json").write_text("{")
    assert "cannot be read (Expecting property name" in complaint(broken)
    (broken / "open_clip_config.json").unlink()
    assert complaint(broken) == (
        f"{broken} has no open_clip_config.json, so it is no open_clip model; choose another folder"
    )


def test_configuration_that_fits_nothing(broken: Path) -> None:
    def configure(model: dict[str, Any], preprocess: dict[str, Any] | None = None) -> None:
        text = json.dumps({"model_cfg": model, "preprocess_cfg": preprocess or {}})
        (broken / "open_clip_config.json").write_text(text)

    configure({**VIT, "embed_dim": 25})
    assert "do not fit" in complaint(broken)
    assert "size mismatch for" in complaint(broken)
    configure(CONV)
    assert "do not fit" in complaint(broken)
    configure({**VIT, "vision_cfg": {"timm_model_name": "no_such_net", "image_size": 64}})
    assert "cannot be built (" in complaint(broken)
    configure(VIT, {"resize_mode": "origami"})
    assert complaint(broken) == (
        "the model's preprocess_cfg says 'origami', which must be one of longest, shortest, squash"
    )
    configure({**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": [64, 32]}})
    assert "only square models are supported" in complaint(broken)
    configure({**VIT, "text_cfg": {**VIT["text_cfg"], "tokenizer_kwargs": {"clean": "spotless"}}})
    assert "has a tokenizer that cannot be made (Invalid clean function (spotless))" in complaint(broken)


def test_damaged_weights(broken: Path) -> None:
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:5000])
    assert complaint(broken).startswith(f"{broken / WEIGHTS} is damaged (")


def test_a_pickle_is_read_as_plain_tensors_or_not_at_all(broken: Path) -> None:
    import torch
    from safetensors.torch import load_file

    before = load_encoder(f"local-dir:{broken}", device="cpu", precision="fp32").encode_texts(["sofa"])
    tensors = load_file(broken / WEIGHTS)
    (broken / WEIGHTS).unlink()
    torch.save(tensors, broken / "model.pt")
    after = load_encoder(f"local-dir:{broken}", device="cpu", precision="fp32").encode_texts(["sofa"])
    np.testing.assert_array_equal(after, before)

    class Mischief:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (broken / "touched",)

    for blob in (pickle.dumps(Mischief()), b"", b"no pickle at all"):
        (broken / "model.pt").write_bytes(blob)
        assert "use a .safetensors file" in complaint(broken)
    torch.save({"state_dict": Mischief()}, broken / "model.pt")
    assert "such files are not opened because they can run code" in complaint(broken)
    assert not (broken / "touched").exists()
