"""What `diptych models` stands on: the presets, facts without weights, fetching."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from indexer.encoding import hub
from indexer.encoding.presets import BALANCED, COMPACT, PRESETS
from indexer.errors import EncoderError
from indexer.models import list_models, pull_model, show_model
from tests.indexer.encoder_models import SIGLIP, SQUASHED, WEIGHTS, put_in_cache, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_model(tmp_path_factory.mktemp("models") / "siglip", SIGLIP, SQUASHED)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_answers", lambda timeout: False)


def test_the_presets_are_listed(tmp_path: Path) -> None:
    listed = {facts.name: facts for facts in list_models(cache_dir=str(tmp_path))}
    assert list(listed) == ["compact", "balanced", "best"]
    assert listed["compact"].on_disk
    assert not listed["balanced"].on_disk
    assert listed["balanced"].size_bytes == BALANCED.download_bytes
    assert all(facts.licence and facts.description for facts in listed.values())


def test_a_preset_on_disk_says_where(folder: Path, tmp_path: Path) -> None:
    snapshot = put_in_cache(tmp_path, BALANCED.repo, folder)
    facts = show_model("auto", cache_dir=str(tmp_path))
    assert facts.name == "balanced"
    assert facts.path == snapshot / WEIGHTS
    assert facts.size_bytes == (folder / WEIGHTS).stat().st_size
    assert show_model("auto", cache_dir=str(tmp_path / "empty")).name == "compact"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_presets_say_what_open_clip_says(preset: Any, tmp_path: Path) -> None:
    facts = show_model(preset.spec, cache_dir=str(tmp_path), hub_timeout=0)
    assert (facts.dim, facts.side, facts.context_length) == (preset.dim, preset.side, preset.context_length)
    assert facts.resize_mode == preset.resize_mode
    assert facts.parameters is not None
    assert facts.parameters == pytest.approx(preset.parameters, rel=0.01)
    if preset is not COMPACT:
        assert facts.licence == f"see https://huggingface.co/{preset.repo}"


def test_any_model_can_be_shown(folder: Path) -> None:
    facts = show_model(f"local-dir:{folder}?letterbox=1")
    assert (facts.dim, facts.side, facts.resize_mode) == (24, 64, "longest")
    assert facts.path == folder / WEIGHTS
    random = show_model("ViT-B-32/random?seed=3")
    assert (random.on_disk, random.path, random.spec) == (True, None, "ViT-B-32/random?seed=3")
    with pytest.raises(EncoderError, match="there is no model 'compcat'; did you mean compact"):
        show_model("compcat")


@pytest.mark.usefixtures("offline")
def test_nothing_can_be_pulled_offline(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="the hub did not answer within 10 s; run `diptych models pull balanced` wh"):
        pull_model("auto", cache_dir=str(tmp_path))
    with pytest.raises(EncoderError, match="'hf-hub:org/tiny' needs files of hf-hub:org/tiny"):
        show_model("hf-hub:org/tiny", cache_dir=str(tmp_path), hub_timeout=0)


def test_pull_fetches_weights_and_tokenizer(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(hub, "hub_answers", lambda timeout: True)

    def file(repo: str, names: Any, **_: Any) -> Path:
        asked.append((repo, *names))
        return put_in_cache(tmp_path, repo, folder) / WEIGHTS

    def tokenizer(repo: str, patterns: Any, **_: Any) -> Path:
        asked.append((repo, *patterns))
        return tmp_path

    monkeypatch.setattr(hub, "fetch_file", file)
    monkeypatch.setattr(hub, "fetch_folder", tokenizer)
    facts = pull_model("balanced", cache_dir=str(tmp_path))
    assert facts.on_disk
    assert asked == [
        (BALANCED.repo, "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        (BALANCED.repo, "*.json", "*.model", "*.txt"),
    ]


def test_what_the_hub_refuses_becomes_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    monkeypatch.setattr(hub, "hub_answers", lambda timeout: True)
    answer = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))
    for error, sentence in (
        (
            RepositoryNotFoundError("404", response=answer),
            "hf-hub:org/x does not exist on the hub or is private",
        ),
        (GatedRepoError("403", response=answer), "hf-hub:org/x wants its licence accepted; accept it on its page"),
        (EntryNotFoundError("404"), "hf-hub:org/x has none of open_clip_config.json, so it is no open_clip model"),
        (
            OSError("disk full\nmore"),
            "downloading hf-hub:org/x failed (disk full); try again, what has arrived",
        ),
    ):

        def refuse(*_: Any, error: Exception = error, **__: Any) -> str:
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        with pytest.raises(EncoderError) as caught:
            pull_model("hf-hub:org/x", cache_dir=str(tmp_path))
        assert str(caught.value).startswith(sentence)
