"""The encoder: the same vectors as open_clip, on every precision, from every kind of input."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import indexer.encoder as encoder_module
from indexer.encoder import OpenClipEncoder, load_encoder
from indexer.encoding import dual, precision
from indexer.encoding.frame import read_frame
from indexer.encoding.plan import Known
from indexer.errors import EncoderError, PictureError
from indexer.seams import Encoder, Floats
from tests.indexer.encoder_models import CONV, CUSTOM, LETTERBOXED, SIGLIP, SQUASHED, VIT, cosines, picture, write_model

TEXTS = ["a red chair", "", "Two DOGS, run_along the beach — at dusk!", "sofa " * 30, "naïve 😀 日本"]
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": (VIT, {}),
    "conv": (CONV, LETTERBOXED),
    "siglip": (SIGLIP, SQUASHED),
    "custom": (CUSTOM, {}),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads make small models slower, on a busy machine very much so."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what importing open_clip says; the encoder has to keep it to itself
        return {name: write_model(root / name, *parts) for name, parts in KINDS.items()}


@pytest.fixture(scope="module")
def vit(folders: dict[str, Path]) -> OpenClipEncoder:
    return load_encoder(f"local-dir:{folders['vit']}", device="cpu", precision="fp32")


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_open_clip(folders: dict[str, Path], kind: str) -> None:
    import open_clip
    import torch

    name = f"local-dir:{folders[kind]}"
    encoder = load_encoder(name, device="cpu", precision="fp32")
    model, _, transform = open_clip.create_model_and_transforms(name)
    pictures = [picture(90, 70), picture(64, 64, 1), picture(40, 200, 2)]
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(each) for each in pictures]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(name)(TEXTS), normalize=True)
    assert cosines(encoder.encode_images(pictures), images.numpy()).min() > 0.99999
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts.numpy(), atol=2e-6)


def test_what_the_seam_promises(folders: dict[str, Path]) -> None:
    encoder = load_encoder(f"local-dir:{folders['siglip']}", precision="fp32", device="cpu")
    as_seam: Encoder = encoder
    assert (as_seam.dim, as_seam.context_length, encoder.image_size, encoder.device) == (24, 16, 64, "cpu")
    assert as_seam.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert encoder.logit_bias == -10
    assert as_seam.name == encoder.spec == f"local-dir:{folders['siglip']}"
    assert encoder.note == f"local-dir:{folders['siglip']}; on cpu in fp32."
    rows = as_seam.encode_images([picture(seed=seed) for seed in range(3)])
    assert rows.dtype == np.float32
    assert rows.shape == (3, 24)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_a_model_without_bias_has_none(vit: OpenClipEncoder) -> None:
    assert vit.logit_bias is None


@pytest.mark.parametrize("lower", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["vit", "conv", "siglip", "compact"])
def test_precisions_agree(folders: dict[str, Path], kind: str, lower: str) -> None:
    name = kind if kind == "compact" else f"local-dir:{folders[kind]}"
    full = load_encoder(name, device="cpu", precision="fp32")
    low = load_encoder(name, device="cpu", precision=lower)
    pictures = [picture(120, 90 + 10 * seed, seed) for seed in range(6)]
    assert cosines(full.encode_images(pictures), low.encode_images(pictures)).min() > 0.999
    assert cosines(full.encode_texts(TEXTS), low.encode_texts(TEXTS)).min() > 0.999
    assert low.precision in {lower, "fp32"}
    assert low.fingerprint == full.fingerprint
    if kind == "compact" and lower == "bf16":
        assert low.precision == "bf16"
        assert "in bf16 (cosine with fp32 at least 0.99" in low.note


def test_a_precision_that_changes_the_vectors_is_not_used(
    folders: dict[str, Path], vit: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "AGREEMENT", 1.1)
    kept = load_encoder(f"local-dir:{folders['vit']}", device="cpu", precision="bf16")
    assert kept.precision == "fp32"
    assert kept.note.endswith("; on cpu in fp32 (bf16 would have changed the vectors).")
    np.testing.assert_array_equal(kept.encode_images([picture()]), vit.encode_images([picture()]))
    np.testing.assert_array_equal(kept.encode_texts(TEXTS), vit.encode_texts(TEXTS))


def test_one_tower_alone_can_stay_in_fp32(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.9999])
    monkeypatch.setattr(precision, "agreement", lambda mine, theirs: next(scores))
    mixed = load_encoder(f"local-dir:{folders['vit']}", device="cpu", precision="bf16")
    assert mixed.precision == "fp32"
    assert mixed.note.endswith("in fp32 for pictures and bf16 for texts (bf16 would have changed the vectors).")
    monkeypatch.undo()
    full = load_encoder(f"local-dir:{folders['vit']}", device="cpu", precision="fp32")
    np.testing.assert_array_equal(mixed.encode_images([picture()]), full.encode_images([picture()]))
    assert 0.999 < cosines(mixed.encode_texts(TEXTS), full.encode_texts(TEXTS)).min() < 1 - 1e-7


def test_batch_norms_are_folded_only_where_that_is_right() -> None:
    import torch
    from torch import nn

    class Misleading(nn.Module):
        """Registers the norm after the convolution but applies it before."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)
            self.norm = nn.BatchNorm2d(3)
            self.norm.running_mean.fill_(0.7)  # type: ignore[union-attr]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(x)).mean((2, 3))  # type: ignore[no-any-return]

    for tower, left in ((Misleading(), 1), (nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)), 0)):
        model = nn.Module()
        model.visual = tower.eval()
        seen = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

        def run(tower: nn.Module = tower, seen: torch.Tensor = seen) -> Floats:
            with torch.no_grad():
                return nn.functional.normalize(tower(seen).flatten(1), dim=-1).numpy()

        before = run()
        precision.settle(model, "fp32", pictures=run, texts=run)
        assert sum(isinstance(part, nn.BatchNorm2d) for part in tower.modules()) == left
        np.testing.assert_allclose(run(), before, atol=1e-5)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_prepare_is_open_clips_transform(mode: str, interpolation: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = {"mean": [0.1, 0.2, 0.3], "std": 0.5, "interpolation": interpolation, "resize_mode": mode, "fill_color": 9}
    frame = read_frame(config, 48, letterbox=None)
    theirs = image_transform_v2(PreprocessCfg(size=48, **{**config, "std": [0.5] * 3}), is_train=False)
    for width, height in ((90, 70), (70, 91), (48, 48), (20, 30), (300, 31)):
        shown = picture(width, height)
        expected = theirs(shown).permute(1, 2, 0).numpy() * 0.5 + np.array([0.1, 0.2, 0.3])
        np.testing.assert_allclose(frame(shown) / 255, expected, atol=1.01 / 255)


def test_letterbox_is_part_of_spec_and_fingerprint(folders: dict[str, Path], vit: OpenClipEncoder) -> None:
    name = f"local-dir:{folders['vit']}"
    boxed = load_encoder(name, letterbox=True, device="cpu", precision="fp32")
    assert boxed.spec == f"{name}?letterbox=1"
    assert boxed.fingerprint != vit.fingerprint
    assert load_encoder(boxed.spec, device="cpu", precision="fp32").fingerprint == boxed.fingerprint
    prepared = boxed.prepare(Image.new("RGB", (100, 50)))
    assert (prepared[:16] == 255).all()
    assert (prepared[16:48] == 0).all()
    cropped = load_encoder(f"local-dir:{folders['conv']}?letterbox=0", device="cpu", precision="fp32")
    assert (cropped.prepare(Image.new("RGB", (100, 50))) == 0).all()


def test_every_kind_of_picture_is_taken(vit: OpenClipEncoder, tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    picture().save(path)
    rows = vit.encode_images([picture(), path, str(path), path.read_bytes()])
    np.testing.assert_array_equal(rows, np.repeat(rows[:1], 4, axis=0))
    with pytest.raises(PictureError):
        vit.encode_images([b"no picture"])


def test_nothing_in_nothing_out(vit: OpenClipEncoder) -> None:
    assert vit.encode_images([]).shape == vit.encode_texts([]).shape == (0, 24)
    assert vit.encode_pixels(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 24)


def test_wrong_pixels_are_refused(vit: OpenClipEncoder) -> None:
    with pytest.raises(EncoderError, match=r"pixels must be uint8 \[n, 64, 64, 3\], not float32 \[1, 64, 64, 3\]"):
        vit.encode_pixels(np.zeros((1, 64, 64, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match=r"not uint8 \[1, 32, 64, 3\]"):
        vit.encode_pixels(np.zeros((1, 32, 64, 3), np.uint8))


def test_read_only_and_strided_pixels_are_fine(vit: OpenClipEncoder) -> None:
    pixels = np.stack([vit.prepare(picture(seed=seed)) for seed in range(4)])
    frozen = pixels[::2]
    frozen.flags.writeable = False
    np.testing.assert_array_equal(vit.encode_pixels(frozen), vit.encode_pixels(pixels[::2].copy()))


def test_batches_are_capped(vit: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed=seed) for seed in range(5)]
    images, texts = vit.encode_images(pictures), vit.encode_texts(TEXTS)
    monkeypatch.setattr(dual, "_BATCH", {"cpu": 0.2})  # less than one picture of 64 x 64 still means one
    monkeypatch.setattr(dual, "_TEXTS", {"cpu": 2})
    pixels = np.stack([vit.prepare(each) for each in pictures])
    np.testing.assert_allclose(vit.encode_pixels(pixels), images, atol=1e-6)
    np.testing.assert_allclose(vit.encode_texts(TEXTS), texts, atol=1e-6)


def test_many_threads_may_encode(vit: OpenClipEncoder) -> None:
    expected = vit.encode_images([picture()]), vit.encode_texts(TEXTS)

    def work(_: int) -> tuple[Floats, Floats]:
        return vit.encode_images([picture()]), vit.encode_texts(TEXTS)

    with ThreadPoolExecutor(4) as pool:
        for images, texts in pool.map(work, range(8)):
            np.testing.assert_allclose(images, expected[0], atol=1e-6)
            np.testing.assert_allclose(texts, expected[1], atol=1e-6)


def test_random_weights_are_the_same_for_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(encoder_module, "look_up", lambda model: Known(VIT, {}, "", ""))
    state = torch.get_rng_state()
    names = ("ViT-S-32/random", "ViT-S-32__random?seed=0", "ViT-S-32/random?seed=1")
    first, again, other = (load_encoder(name, device="cpu", precision="fp32") for name in names)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.spec == again.spec == "ViT-S-32/random?seed=0"
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.encode_texts(["sofa"]), again.encode_texts(["sofa"]))
    assert cosines(first.encode_texts(["sofa"]), other.encode_texts(["sofa"]))[0] < 0.9
    assert first.note == "ViT-S-32/random, whose random weights are good for measuring speed only; on cpu in fp32."


def test_the_fingerprint_follows_the_weights_and_nothing_else(folders: dict[str, Path], tmp_path: Path) -> None:
    same = write_model(tmp_path / "copied", VIT)
    other = write_model(tmp_path / "other", VIT, seed=1)
    prints = [load_encoder(f"local-dir:{folder}", device="cpu").fingerprint for folder in (folders["vit"], same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 32


def test_loading_is_silent(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[logging.Handler] = []
    monkeypatch.setattr(logging.getLogger(), "handlers", handlers)
    load_encoder(f"local-dir:{folders['vit']}", device="cpu")
    load_encoder("ViT-S-32/random", device="cpu")
    assert handlers == []  # open_clip would have installed one for good
    assert capfd.readouterr() == ("", "")


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, json, indexer.encoder, indexer.models; indexer.models.list_models();"
        "print(json.dumps([name for name in ('torch', 'open_clip', 'timm', 'transformers') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


def test_the_bundled_model_knows_its_own_figures() -> None:
    from indexer.encoding.presets import COMPACT

    encoder = load_encoder("compact", device="cpu")
    assert (encoder.dim, encoder.image_size, encoder.context_length) == (
        COMPACT.dim,
        COMPACT.side,
        COMPACT.context_length,
    )
    assert encoder.spec == "compact"
    assert encoder.frame.resize_mode == COMPACT.resize_mode == "longest"
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG")
    assert encoder.encode_images([buffer.getvalue()]).shape == (1, COMPACT.dim)
