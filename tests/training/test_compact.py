"""The compact encoder's recipe on a tiny made-up world: losses fall, a run resumes, the folder loads in open_clip."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from training import compact, measure, phrases, rows, teacher, texts
from training.augment import augment, to_unit
from training.crew import Crew
from training.losses import both_ways, multi_positive, normalised_mse, soft_cross_entropy
from training.model import build, units
from training.pictures import Plan
from training.run import Budget, Stage, cosine
from training.words import clean, gather, source_weights

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "black": (10, 10, 10)}


def _webp(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "WEBP")
    return held.getvalue()


def _write(file: Path, count: int) -> None:
    names = list(COLOURS)
    table = [
        {
            "key": str(i),
            "source": "furniture" if i % 2 else "fashion",
            "label": names[i % 4],
            "texts": [names[i % 4], f"a {names[i % 4]} thing"],
            "image": _webp(COLOURS[names[i % 4]], (20 + i % 3, 30)),
        }
        for i in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(table), file)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    _write(folder / "train-00.parquet", 24)
    _write(folder / "dev.parquet", 8)
    return folder


def _fake_vectors(texts: Sequence[str]) -> np.ndarray:
    found = np.stack([np.random.default_rng(sum(map(ord, text))).normal(size=384) for text in texts])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _fake_teacher(_: Path) -> teacher.Teacher:
    import timm

    torch.manual_seed(7)
    body = timm.create_model("mobilenetv2_100", num_classes=0).eval().requires_grad_(False).bfloat16()
    return teacher.Teacher(units(body), nn.Linear(1280, 5).requires_grad_(False), list(COLOURS))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> compact.Recipe:
    monkeypatch.setattr(teacher, "load", _fake_teacher)
    monkeypatch.setattr(phrases, "sentence_vectors", _fake_vectors)
    monkeypatch.setattr(phrases, "vocabulary_words", lambda: ["sofa", "chair", "lamp"])
    monkeypatch.setattr(texts, "vocabulary_words", lambda: ["sofa", "chair", "lamp"])
    monkeypatch.setattr(compact, "CACHE_SIDE", 32)
    plan = Plan(block_side=32, side=32, last_side=32, teacher_side=32, workers=2, block_batch=4, batch=4, negatives=4)
    budgets = {"blocks": Budget(steps=1), "whole": Budget(steps=2), "texts": Budget(steps=5)}
    return compact.Recipe(budgets, pictures=plan, texts=texts.TextPlan(batch=12, names=3, vocabulary=2))


def test_the_recipe_trains_resumes_and_leaves_a_folder_open_clip_loads(
    data: Path, tmp_path: Path, tiny: compact.Recipe
) -> None:
    import open_clip

    out = tmp_path / "out"
    threads = torch.get_num_threads()
    first = compact.train(data, out, tiny)
    assert first["texts"]["steps"] == 5
    with (out / "texts.csv").open() as handle:
        assert next(csv.reader(handle))[:3] == ["step", "seconds", "loss"]
    assert json.loads((out / "metrics.json").read_text()) == first

    longer = replace(tiny, budgets={**tiny.budgets, "texts": Budget(steps=12)})
    second = compact.train(data, out, longer)
    assert second["blocks"] == first["blocks"]
    assert second["texts"]["steps"] == 12
    assert second["texts"]["pair"] < first["texts"]["pair"]
    assert torch.get_num_threads() == threads

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out / 'model'}")
    pixels = preprocess(Image.new("RGB", (40, 20), (0, 0, 0)))
    assert pixels.shape == (3, 128, 128)
    assert pixels[:, 0, 0].tolist() == [1, 1, 1]
    assert pixels[:, 64, 64].tolist() == [-1, -1, -1]
    said = ["a red thing", "sofa"]
    whole = model.eval().encode_text(open_clip.get_tokenizer(f"local-dir:{out / 'model'}")(said), normalize=True)
    assert torch.allclose(whole, measure.text_vectors(measure.load_folder(out / "model"), said), atol=0.02)

    report = measure.report(out / "model", data, seconds=0)
    assert "| fashion | 8 |" not in report
    assert "| fashion | 4 |" in report
    assert "cosine mean" in report


def test_a_stage_stopped_in_the_middle_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    def run(folder: Path, steps: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        torch.manual_seed(0)
        layer = nn.Linear(4, 1)
        optim = torch.optim.AdamW(layer.parameters(), lr=0.1)
        stage = Stage("line", folder, Budget(steps=steps), {"layer": layer, "optim": optim}, generator)
        stage.resume()
        while stage.progress < 1:
            loss = layer(torch.randn(8, 4, generator=generator)).pow(2).mean()
            optim.zero_grad()
            loss.backward()
            optim.step()
            stage.tick({"loss": loss.item()})
        return layer.weight.detach()

    run(tmp_path / "two", 3)
    assert torch.equal(run(tmp_path / "one", 6), run(tmp_path / "two", 6))


def test_a_folder_without_tables_or_teacher_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no train\*\.parquet in .*; point --data at the folder"):
        rows.tables(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"no teacher at .*; point --data at the folder"):
        teacher.load(tmp_path)


def test_letterbox_keeps_the_whole_picture_centred_on_white() -> None:
    box = np.asarray(rows.letterbox(Image.new("RGB", (40, 20), (255, 0, 0)), 80))
    assert box.shape == (80, 80, 3)
    assert (box[0, 0] == 255).all()
    assert box[40, 0].tolist() == [255, 0, 0]


def test_the_cache_is_made_once_and_a_half_made_one_again(data: Path, tmp_path: Path) -> None:
    first = rows.cache(data, "train", tmp_path, 16, limit=10)
    assert len(first) == 10
    assert first.pixels.shape == (10, 16, 16, 3)
    (tmp_path / "train-16.json").unlink()
    assert np.array_equal(rows.cache(data, "train", tmp_path, 16, limit=10).pixels, first.pixels)


def test_synonyms_of_one_label_mean_the_same_and_shared_names_only_themselves() -> None:
    found = gather(
        [
            rows.Row("tinyimagenet", "sofa", ("sofa", "Studio_Couch")),
            rows.Row("grocery", "Gala", ("Gala", "Apple")),
            rows.Row("grocery", "Fuji", ("Fuji", "Apple")),
            rows.Row("fashion", "Tshirts", ("Blue tee",)),
        ]
    )
    meaning = dict(zip(found.texts, found.meaning.tolist(), strict=True))
    assert meaning["sofa"] == meaning["studio couch"]
    assert len({meaning["gala"], meaning["fuji"], meaning["apple"]}) == 3
    assert not found.is_class[found.texts.index("blue tee")]
    assert clean(" A_b  C ") == "a b c"


def test_sources_are_balanced() -> None:
    words = [rows.Row("big", "", ("x",))] * 90 + [rows.Row("small", "", ("y",))] * 10
    chance = source_weights(words)
    assert chance.sum() == pytest.approx(1)
    assert 0.1 < chance[90:].sum() < 0.5


def test_equal_texts_are_positives_not_negatives() -> None:
    vectors = torch.eye(2)[[0, 0, 1]]
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    scale = torch.tensor(50.0)
    shared, strict = both_ways(vectors, vectors, same, scale), both_ways(vectors, vectors, torch.eye(3).bool(), scale)
    assert multi_positive(torch.zeros(1, 2), torch.ones(1, 2).bool()) == pytest.approx(np.log(2))
    assert shared == pytest.approx(2 / 3 * np.log(2), abs=1e-4)
    assert shared <= strict + 1e-6


def test_distillation_losses_are_zero_at_the_teacher() -> None:
    maps, logits = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    assert normalised_mse(maps, maps) == 0
    assert soft_cross_entropy(logits, logits).abs() < 1e-6


def test_augmentation_keeps_the_range_and_repeats_with_its_seed() -> None:
    pixels = torch.randint(0, 256, (3, 20, 20, 3), dtype=torch.uint8)
    one, two = (augment(pixels, 16, 1.0, torch.Generator().manual_seed(5)) for _ in range(2))
    assert one.shape == (3, 3, 16, 16)
    assert torch.equal(one, two)
    assert one.abs().max() <= 1.0001
    assert torch.equal(to_unit(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)), torch.ones(1, 3, 2, 2))


def test_a_crew_of_two_makes_the_gradient_of_one_on_both_halves() -> None:
    layer, pieces = nn.Linear(3, 1), torch.randn(2, 4, 3)

    def losses(layer: nn.Module, piece: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": layer(piece).pow(2).mean()}

    Crew(layer, 2).gradients(losses, list(pieces))
    together = layer.weight.grad.clone()
    layer.zero_grad()
    losses(layer, pieces.reshape(8, 3))["loss"].backward()
    assert torch.allclose(together, layer.weight.grad, atol=1e-6)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    assert cosine(0.0) < 0.1
    assert cosine(0.03) == pytest.approx(1)
    assert cosine(1.0) == pytest.approx(0)


def test_ranks_count_what_scores_above_the_best_right_answer() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.3, 0.4]])
    right = torch.tensor([[True, False, False], [True, False, False]])
    assert measure.first_right(scores, right).tolist() == [0, 2]
    assert measure.within(torch.tensor([0, 2]), 1) == 50


def test_trimmed_tokens_are_open_clips_without_padding_columns() -> None:
    import open_clip

    whole = open_clip.SimpleTokenizer(context_length=48)(["a red sofa", "lamp"])
    ours = texts.tokens(["a red sofa", "lamp"], 48)
    assert torch.equal(ours, whole[:, : ours.shape[1]])
    assert whole[:, ours.shape[1] :].sum() == 0
    assert texts.tokens(["word " * 90], 48).shape == (1, 48)
    assert texts.encode(build().eval(), ours).shape == (2, 384)
