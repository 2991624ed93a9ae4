"""Pictures come out upright, in the right colours, within limits; everything else is a sentence with a reason."""

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from indexer.errors import PictureError
from indexer.images import (
    SUFFIXES,
    Limits,
    content_hash,
    decode,
    difference_hash,
    open_picture,
    read_bytes,
    resize,
)
from indexer.sources.folder import FolderSource
from indexer.sources.found import Unreadable
from tests.hostile import deep, encoded, jpeg_claiming, make_corpus, picture, png_of, see_through, turned


def pixels(data: bytes) -> np.ndarray:
    """The decoded picture as numbers that may be subtracted."""
    image = decode(data).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def difference(data: bytes, wanted: Image.Image) -> float:
    """The mean difference from the picture that should come out."""
    return float(np.abs(pixels(data) - np.asarray(wanted.convert("RGB")).astype(int)).mean())


def refusal(data: bytes, limits: Limits | None = None) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode(data, limits)
    return caught.value


def test_every_hostile_file_has_its_reason_and_its_sentence(tmp_path: Path) -> None:
    expected = make_corpus(tmp_path)
    assert len(expected) >= 60
    got: dict[bytes, str | None] = {}
    for item in FolderSource(str(tmp_path)).scan():
        assert item.locator not in got
        problem = item.error if isinstance(item, Unreadable) else None
        if not isinstance(item, Unreadable):
            assert item.read is not None
            try:
                decoded = decode(item.read(Limits()), at_least=32)
                assert resize(decoded.image, 32, "longest").shape == (32, 32, 3)
                assert resize(decoded.image, 32).shape == (32, 32, 3)
                difference_hash(decoded.image)
            except PictureError as error:
                problem = error
        got[item.locator] = problem and problem.reason
        if problem:
            assert problem.message[0].isupper()
            assert problem.remedy
            assert "\n" not in str(problem)
            assert not str(problem).endswith(".")
    assert got == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF"])
def test_every_format_is_read(kind: str) -> None:
    assert difference(encoded(picture(), kind), picture()) < 6
    decoded = decode(encoded(picture(), kind))
    assert (decoded.width, decoded.height, decoded.format) == (96, 64, kind)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    data = turned(orientation, quality=95)
    assert difference(data, picture()) < 6
    decoded = decode(data)
    assert (decoded.width, decoded.height) == (96, 64)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [2, 6, 8])
def test_other_formats_are_turned_once(kind: str, orientation: int) -> None:
    decoded = decode(turned(orientation, kind))
    assert (decoded.width, decoded.height) == decoded.image.size == (96, 64)
    assert difference(turned(orientation, kind), picture()) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_by_its_own_boxes_and_not_again_by_exif(orientation: int) -> None:
    with Image.open(io.BytesIO(turned(orientation))) as stored:
        exif = stored.info["exif"]
        flat = Image.frombytes("RGB", stored.size, stored.tobytes())
    flat.info["original_orientation"] = orientation  # makes pillow_heif write the boxes that turn it
    data = encoded(flat, "HEIF", exif=exif)
    assert decode(data).image.size == (96, 64)
    assert difference(data, picture()) < 6


def test_original_size_is_kept_when_a_jpeg_is_drafted() -> None:
    whole = encoded(picture(1600, 1200), "JPEG")
    decoded = decode(whole, at_least=128)
    assert (decoded.width, decoded.height) == (1600, 1200)
    assert decoded.image.size == (400, 300)
    assert decode(whole, at_least=700).image.size == (1600, 1200)
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = decode(encoded(picture(1600, 1200), "JPEG", exif=exif), at_least=128)
    assert (on_its_side.width, on_its_side.height, on_its_side.image.size) == (1200, 1600, (300, 400))


def test_transparency_is_laid_on_white() -> None:
    for kind in ("PNG", "WEBP", "TIFF"):
        row = pixels(encoded(see_through(), kind, **({"lossless": True} if kind == "WEBP" else {})))[0]
        assert row[10].tolist() == [255, 0, 0]
        assert row[80].tolist() == [255, 255, 255]
    half = Image.new("LA", (8, 8), (0, 128))
    assert abs(pixels(encoded(half, "PNG"))[0, 0, 0] - 127) <= 1


def test_palette_transparency_and_colour_key_are_laid_on_white() -> None:
    palette = picture().quantize(16)
    clear = pixels(encoded(palette, "PNG", transparency=bytes(16)))
    assert (clear == 255).all()
    keyed = pixels(encoded(picture(), "PNG", transparency=(0, 0, 0)))
    assert keyed[0, 0].tolist() == [255, 255, 255]
    gif = Image.new("P", (8, 8), 1)
    gif.putpalette([0, 0, 0, 200, 0, 0])
    assert pixels(encoded(gif, "GIF", transparency=1))[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    for kind in ("PNG", "TIFF"):
        row = pixels(encoded(deep(), kind))[0, :, 0]
        assert row[0] == 0
        assert row[-1] == 255
        assert abs(row[48] - 129) <= 2
    colour = png_of(2, 1, 16, 2, b"\0" + bytes([128, 0, 64, 0, 255, 255]) * 2)
    assert pixels(colour)[0, 0].tolist() == [128, 64, 255]


def test_floats_and_wide_integers_are_scaled_to_their_range() -> None:
    def grey(values: np.ndarray) -> list[int]:
        return pixels(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist()

    assert grey(np.array([[0, 0.5, 1]], np.float32)) == [0, 128, 255]
    assert grey(np.array([[0, 100, 255]], np.float32)) == [0, 100, 255]
    assert grey(np.array([[-1, 0, 1]], np.float32)) == [0, 128, 255]
    assert grey(np.array([[np.nan, 0.5, 1]], np.float32)) == [0, 128, 255]
    assert grey(np.array([[0, 257, 65535]], np.int32)) == [0, 1, 255]


def test_cmyk_is_not_inverted() -> None:
    for kind in ("JPEG", "TIFF"):
        paper = pixels(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), kind))
        ink = pixels(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), kind))
        red = pixels(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
        assert paper.min() > 250
        assert ink.max() < 5
        assert red[0, 0, 0] > 200 > 60 > red[0, 0, 1]


def test_one_bit_and_grey_come_out_grey() -> None:
    assert set(np.unique(pixels(encoded(picture(mode="1"), "PNG")))) == {0, 255}
    assert difference(encoded(picture(mode="L"), "PNG"), picture(mode="L")) == 0


def test_first_frame_of_a_moving_picture() -> None:
    frames = [Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert pixels(data)[0, 0, 0] > 240, kind
        assert pixels(data)[0, 0, 2] < 15, kind


def test_a_wide_gamut_profile_is_converted_and_a_wrong_one_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = pixels(encoded(picture(), "PNG"))
    for profile in (lab, srgb, b"nonsense" * 30):
        assert (pixels(encoded(picture(), "PNG", icc_profile=profile)) == plain).all()
    swapped = srgb.replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
    start = swapped.index(b"rXYZ") + 4, swapped.index(b"bXYZ") + 4
    red, blue = (swapped[i : i + 8] for i in start)
    exchanged = swapped.replace(b"rXYZ" + red, b"@@@@" + blue).replace(b"bXYZ" + blue, b"bXYZ" + red)
    exchanged = exchanged.replace(b"@@@@" + blue, b"rXYZ" + blue)
    out = pixels(encoded(Image.new("RGB", (4, 4), (255, 0, 0)), "PNG", icc_profile=exchanged))
    assert out[0, 0, 2] > 200 > 60 > out[0, 0, 0]


def test_the_cap_on_pixels_names_size_limit_and_remedy() -> None:
    limit = "The picture has 6,144 pixels (96 x 64) and the limit is 1,000"
    message = f"{limit}; make it smaller, or raise the limit on pixels (--max-pixels)"
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF"):
        error = refusal(encoded(picture(), kind), Limits(max_pixels=1000))
        assert str(error) == message
        assert (error.reason, error.transient) == ("too-many-pixels", False)
    bomb = refusal(jpeg_claiming(65500, 65500))
    assert str(bomb).startswith("The picture has 4,290,250,000 pixels and the limit is 100,000,000; ")


def test_the_cap_can_be_raised_above_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = encoded(picture(), "WEBP")
    assert refusal(data, Limits(max_pixels=1001)).reason == "too-many-pixels"
    assert decode(data, Limits(max_pixels=6144)).width == 96


def test_sentences() -> None:
    assert str(refusal(b"")) == "The file has no bytes; copy it again from where it came from"
    assert str(refusal(b"x" * 11, Limits(max_bytes=10))) == (
        "The file has 11 bytes and the limit is 10; make it smaller, or raise the limit on bytes (--max-bytes)"
    )
    assert str(refusal(b"<!doctype html><p>")) == (
        "This is a web page, not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF picture; export it as one of these"
    )
    cut = encoded(picture(), "PNG")[:200]
    assert str(refusal(cut)) == (
        "The PNG file of 200 bytes ends before the picture is complete; copy it again from where it came from"
    )


def test_every_truncation_of_a_jpeg_is_refused() -> None:
    whole = encoded(picture(), "JPEG")
    for length in range(1, len(whole), 13):
        assert refusal(whole[:length]).reason in {"truncated", "unsupported"}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF"]), st.data())
def test_flipped_bytes_are_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(picture(24, 16), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PictureError):
        assert decode(bytes(whole), Limits(max_pixels=1_000_000)).image.mode == "RGB"


def test_memory_errors_are_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(image: Image.Image) -> None:
        raise MemoryError

    data = encoded(picture(), "PNG")
    monkeypatch.setattr("indexer.images.decoding.to_rgb", exhausted)
    error = refusal(data)
    assert (error.reason, error.transient) == ("out-of-memory", True)


def test_read_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    assert read_bytes(path) == read_bytes(os.fsencode(path)) == b"abc"

    def reason(what: Path | bytes | str, limits: Limits | None = None) -> str:
        with pytest.raises(PictureError) as caught:
            read_bytes(what, limits)
        return caught.value.reason

    assert reason(path, Limits(max_bytes=2)) == "too-large"
    assert reason(tmp_path / "gone.jpg") == "vanished"
    assert reason(path / "below.jpg") == "vanished"
    assert reason(tmp_path) == "not-a-file"
    assert reason("a\0b") == "bad-path"
    assert reason("n" * 5000) == "bad-path"
    os.mkfifo(tmp_path / "pipe.jpg")
    start = time.monotonic()
    assert reason(tmp_path / "pipe.jpg") == "not-a-file"
    assert time.monotonic() - start < 5


def test_a_file_that_grows_is_read_to_its_end_but_not_past_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.jpg"
    path.write_bytes(b"1234")
    plain = os.read

    def growing(descriptor: int, length: int) -> bytes:
        data = plain(descriptor, length)
        if path.stat().st_size < 10_000:
            with path.open("ab") as file:
                file.write(b"5678")
        return data

    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(PictureError, match="limit is 100"):
        read_bytes(path, Limits(max_bytes=100))


def test_open_picture_takes_all_it_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(see_through(), "PNG"))
    for given_ in (path, str(path), path.read_bytes(), see_through()):
        assert open_picture(given_).mode == "RGB"
    with Image.open(io.BytesIO(turned(6))) as lying:
        assert open_picture(lying).size == (96, 64)
    path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=f"^{path}: This is text, not a JPEG"):
        open_picture(path)
    with pytest.raises(PictureError, match="limit is 10"):
        open_picture(see_through(), Limits(max_pixels=10))


def test_decoding_in_many_threads() -> None:
    files = [encoded(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF")]
    exif = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff\xff")
    wanted = [content_hash(decode(data).image.tobytes()) for data in [*files, exif]]
    barrier = threading.Barrier(8)

    def work(_: int) -> list[bytes]:
        barrier.wait()
        return [content_hash(decode(data).image.tobytes()) for data in [*files, exif]]

    with ThreadPoolExecutor(8) as pool:
        assert all(result == wanted for result in pool.map(work, range(8)))


def photograph(width: int, height: int) -> Image.Image:
    """A picture with slopes, edges and a little noise, like those cameras make."""
    rng = np.random.default_rng(width * height)
    base = np.asarray(picture(width, height)).astype(int) + rng.normal(0, 6, (height, width, 3))
    base[height // 3 : height // 2, width // 4 : width // 2] = (200, 30, 60)
    return Image.fromarray(base.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("mode", ["longest", "shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resize_agrees_with_open_clip(mode: str, interpolation: str) -> None:
    transform = pytest.importorskip("open_clip.transform")
    for size in [(640, 480), (480, 641), (1000, 333), (97, 160), (31, 20), (1, 1), (500, 500)]:
        image = photograph(*size)
        for side in (160, 224):
            wish = transform.PreprocessCfg(
                size=side, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation=interpolation, fill_color=255
            )
            wanted = transform.image_transform_v2(wish, is_train=False)(image).permute(1, 2, 0).numpy() * 255
            got = resize(image, side, mode, interpolation, fill=255)
            assert got.dtype == np.uint8
            assert np.abs(got - wanted).max() <= 1.01, (size, side)


def test_resize_of_a_long_strip_is_cheap() -> None:
    strip = picture(1, 20000)
    start = time.monotonic()
    for mode in ("longest", "shortest", "squash"):
        assert resize(strip, 224, mode).shape == (224, 224, 3)
    assert time.monotonic() - start < 2
    assert (resize(strip, 64, "longest", fill=7)[:, 0] == 7).all()


def test_difference_hash_knows_a_copy_and_another_picture() -> None:
    one = difference_hash(photograph(640, 480))
    assert -(2**63) <= one < 2**63
    smaller = difference_hash(decode(encoded(photograph(640, 480).resize((320, 240)), "JPEG", quality=60)).image)
    other = difference_hash(photograph(640, 480).rotate(90, expand=True))
    assert (one ^ smaller).bit_count() <= 10
    assert (one ^ other).bit_count() > 12


def test_content_hash_and_suffixes() -> None:
    assert content_hash(b"a") != content_hash(b"b")
    assert len(content_hash(b"")) == 16
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif"} <= SUFFIXES
