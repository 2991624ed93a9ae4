"""Odd and hostile files, made afresh for a test: what people's disks and attackers hold, and what must come of each.

``make_corpus`` fills a folder and says, for every locator a scan must yield, the reason code of its failure or None
when it must be indexed like any other picture.
"""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

Expectation = tuple[bytes, bytes, str | None]  # locator, content, reason

pillow_heif.register_heif_opener()
_ROOT = os.geteuid() == 0


def picture(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A picture that no two codecs confuse: a slope in each channel and a dark corner at the top left."""
    down, right = np.mgrid[0:height, 0:width]
    planes = [right * 255 // width, down * 255 // height, (right + down) * 255 // (width + height)]
    rgb = np.stack(planes, axis=-1).astype(np.uint8)
    rgb[: height // 4, : width // 4] = 0
    return Image.fromarray(rgb).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file of that kind."""
    out = io.BytesIO()
    image.copy().save(out, kind, **options)  # a copy, for saving leaves the codec's settings in the picture
    return out.getvalue()


def make_corpus(folder: Path) -> dict[bytes, str | None]:
    """Write everything below ``folder`` and return what is expected of each locator."""
    expected: dict[bytes, str | None] = {}
    for part in (_formats, _modes, _turned, _metadata, _cut, _impostors, _bombs, _damaged, _named):
        for locator, content, reason in part():
            path = folder / os.fsdecode(locator)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            assert locator not in expected
            expected[locator] = reason
    _make_special(folder, expected)
    _make_ignored(folder)
    return expected


def _formats() -> Iterator[Expectation]:
    image = picture()
    second = picture(mode="L").convert("RGB")
    for name, kind in {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}.items():
        yield b"plain." + name.encode(), encoded(image, kind), None
    yield b"plain.heic", encoded(image, "HEIF"), None
    yield b"plain.avif", encoded(image, "AVIF"), None
    yield b"UPPER.JPEG", encoded(image, "JPEG"), None
    yield b"progressive.jpg", encoded(image, "JPEG", progressive=True), None
    yield b"two-pictures.jpg", encoded(image, "MPO", save_all=True, append_images=[second.copy()]), None
    yield b"lossless.webp", encoded(image, "WEBP", lossless=True), None
    for name, kind in {"moving.gif": "GIF", "moving.webp": "WEBP", "moving.png": "PNG", "pages.tif": "TIFF"}.items():
        yield name.encode(), encoded(image, kind, save_all=True, append_images=[second.copy()]), None
    yield b"really-a-png.jpg", encoded(image, "PNG"), None
    yield b"really-a-heic.jpg", encoded(image, "HEIF"), None
    yield b"really-a-jpeg.gif", encoded(image, "JPEG"), None
    yield b"one-pixel.jpg", encoded(picture(1, 1), "JPEG"), None
    yield b"strip.png", encoded(picture(1, 20000), "PNG"), None
    yield b"lying-strip.jpg", encoded(picture(20000, 1), "JPEG"), None
    yield b"all-white.png", encoded(Image.new("RGB", (64, 64), "white"), "PNG"), None


def _modes() -> Iterator[Expectation]:
    image = picture()
    yield b"cmyk.jpg", encoded(picture(mode="CMYK"), "JPEG"), None
    yield b"cmyk.tif", encoded(picture(mode="CMYK"), "TIFF"), None
    yield b"grey.jpg", encoded(picture(mode="L"), "JPEG"), None
    yield b"grey-alpha.png", encoded(picture(mode="LA"), "PNG"), None
    yield b"alpha.png", encoded(see_through(), "PNG"), None
    yield b"alpha.webp", encoded(see_through(), "WEBP"), None
    yield b"alpha.tif", encoded(see_through(), "TIFF"), None
    yield b"black-and-white.png", encoded(picture(mode="1"), "PNG"), None
    yield b"fax.tif", encoded(picture(mode="1"), "TIFF", compression="group4"), None
    yield b"palette.png", encoded(image.quantize(16), "PNG"), None
    yield b"palette-tRNS.png", encoded(image.quantize(16), "PNG", transparency=b"\0" * 4 + b"\x80" * 4), None
    yield b"colour-key.png", encoded(image, "PNG", transparency=(0, 0, 0)), None
    yield b"grey16.png", encoded(deep(), "PNG"), None
    yield b"grey16.tif", encoded(deep(), "TIFF"), None
    yield b"colour16.png", png_of(96, 64, 16, 2, bytes(64 * (1 + 96 * 6))), None
    yield (
        b"float.tif",
        encoded(Image.fromarray(np.linspace(0, 1, 64 * 96, dtype=np.float32).reshape(64, 96)), "TIFF"),
        None,
    )
    yield b"lab.tif", encoded(picture(mode="LAB"), "TIFF"), None
    yield b"lzw.tif", encoded(image, "TIFF", compression="tiff_lzw"), None


def see_through() -> Image.Image:
    """Red, the right half fully transparent."""
    image = Image.new("RGBA", (96, 64), (255, 0, 0, 255))
    image.paste((0, 255, 0, 0), (48, 0, 96, 64))
    return image


def deep() -> Image.Image:
    """A 16-bit grey slope from 0 to 65535."""
    return Image.fromarray(np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1)))


def turned(orientation: int, kind: str = "JPEG", **options: object) -> bytes:
    """``picture()`` stored so that a reader who heeds the orientation sees it upright."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that a camera would have applied
    image = picture()
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, **options)


def _turned() -> Iterator[Expectation]:
    for orientation in range(1, 9):
        yield b"turned/%d.jpg" % orientation, turned(orientation, quality=95), None
    yield b"turned/9.jpg", turned(9), None
    yield b"turned/6.png", turned(6, "PNG"), None
    yield b"turned/6.webp", turned(6, "WEBP"), None
    yield b"turned/6.tif", turned(6, "TIFF"), None


def _metadata() -> Iterator[Expectation]:
    image = picture()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield b"srgb.jpg", encoded(image, "JPEG", icc_profile=profile), None
    yield b"bad-icc.jpg", encoded(image, "JPEG", icc_profile=b"not a profile" * 20), None
    yield b"cut-icc.png", encoded(image, "PNG", icc_profile=profile[:200]), None
    yield b"grey-with-rgb-icc.jpg", encoded(picture(mode="L"), "JPEG", icc_profile=profile), None
    yield b"bad-exif.jpg", encoded(image, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff\xff"), None
    yield b"mad-exif.png", encoded(image, "PNG", exif=b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40), None
    yield b"trailing-garbage.jpg", encoded(image, "JPEG") + b"\0garbage" * 500, None
    yield b"trailing-zip.png", encoded(image, "PNG") + b"PK\3\4" + b"\0" * 100, None
    yield b"script-in-comment.jpg", encoded(image, "JPEG", comment=b"<script>alert(1)</script>"), None
    text = zlib.compress(b"x" * 30_000_000, 9)
    yield b"text-bomb.png", with_chunk(encoded(image, "PNG"), b"zTXt", b"Comment\0\0" + text), "metadata-too-large"


def _cut() -> Iterator[Expectation]:
    rough = Image.frombytes("RGB", (200, 150), random.Random(0).randbytes(200 * 150 * 3))
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
    for suffix, kind in (kinds | {"heic": "HEIF", "avif": "AVIF"}).items():
        whole = encoded(rough, kind)
        for percent in (10, 50, 95):
            yield f"cut/{percent}.{suffix}".encode(), whole[: len(whole) * percent // 100], "truncated"
    whole = encoded(rough, "JPEG")
    yield b"cut/padded.jpg", whole[: len(whole) // 2] + bytes(len(whole)), "truncated"
    yield b"cut/magic-only.jpg", b"\xff\xd8\xff", "truncated"
    yield b"cut/magic-only.png", b"\x89PNG\r\n\x1a\n", "truncated"
    yield b"cut/magic-only.gif", b"GIF89a", "truncated"
    yield b"cut/zero.jpg", b"", "empty"


def _impostors() -> Iterator[Expectation]:
    drawing = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    contents = {
        "text.jpg": b"This is not a picture.\n" * 30,
        "BMW.bmp": b"BMW is a maker of cars and motorcycles, and this is text.",
        "page.png": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.jpg": drawing,
        "paper.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"0" * 200,
        "layers.jpg": b"8BPS\0\1" + b"\0" * 100,
        "ghost.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "zeros.jpg": bytes(5000),
        "noise.webp": random.Random(1).randbytes(5000),
        "film.heic": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(100),
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
        "icon.png": b"\0\0\1\0\1\0\x10\x10" + bytes(100),
        "jpeg2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    }
    for name, content in contents.items():
        yield b"impostors/" + name.encode(), content, "unsupported"


def _bombs() -> Iterator[Expectation]:
    side = 60000
    yield b"bombs/header.png", png_of(side, side, 8, 2, b""), "too-many-pixels"
    yield b"bombs/real.png", png_of(30000, 30000, 1, 0, bytes(30000 * 3751)), "too-many-pixels"
    screen = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    lzw = b"\x02\x02\x44\x01\0;"
    yield b"bombs/screen.gif", screen + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0" + lzw, "too-many-pixels"
    tiny = screen[:6] + struct.pack("<HH", 1, 1) + screen[10:]
    yield b"bombs/frame.gif", tiny + b"," + struct.pack("<HHHH", 0, 0, side, side) + b"\0" + lzw, "too-many-pixels"
    yield b"bombs/header.tif", tiff_of(side, side), "too-many-pixels"
    canvas = (16383 - 1).to_bytes(3, "little") * 2
    still = encoded(picture(), "WEBP")[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas + still
    yield b"bombs/canvas.webp", b"RIFF" + struct.pack("<I", len(body)) + body, "too-many-pixels"
    bitmap = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6)
    yield b"bombs/header.bmp", bitmap, "too-many-pixels"
    yield b"bombs/header.jpg", jpeg_claiming(65500, 65500), "too-many-pixels"
    yield b"bombs/header.heic", claiming(encoded(picture(), "HEIF"), 20000, 20000), "too-many-pixels"
    yield b"bombs/header.avif", claiming(encoded(picture(), "AVIF"), 16000, 16000), "too-many-pixels"


def _damaged() -> Iterator[Expectation]:
    whole = bytearray(encoded(picture(), "PNG"))
    whole[29] ^= 0xFF  # the checksum of the header
    yield b"damaged/header-crc.png", bytes(whole), "damaged"
    rotten = bytearray(encoded(picture(), "PNG"))
    rotten[len(rotten) // 2] ^= 0xFF
    yield b"damaged/pixels.png", bytes(rotten), "damaged"
    yield b"damaged/no-frames.gif", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff;", "damaged"
    yield b"damaged/circle.tif", struct.pack("<2sHIHI", b"II", 42, 8, 0, 8), "damaged"
    yield b"damaged/nowhere.tif", struct.pack("<2sHI", b"II", 42, 0xFFFFFFF0), "damaged"
    yield b"damaged/no-width.png", png_of(0, 10, 8, 2, b""), "damaged"
    yield b"damaged/markers.jpg", encoded(picture(), "JPEG").replace(b"\xff\xdb", b"\xff\xec"), "damaged"
    yield b"damaged/riff.webp", b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0" + b"\xff" * 10, "damaged"
    yield b"damaged/boxes.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + b"\0\0\0\x08meta", "damaged"
    circular = bytearray(encoded(picture(), "TIFF"))
    first = struct.unpack_from("<I", circular, 4)[0]
    entries = struct.unpack_from("<H", circular, first)[0]
    struct.pack_into("<I", circular, first + 2 + 12 * entries, first)
    yield b"next-page-is-this-page.tif", bytes(circular), None


def _named() -> Iterator[Expectation]:
    image = encoded(picture(), "JPEG")
    names = [
        b"with space.jpg",
        b"new\nline.jpg",
        b"tab\t.jpg",
        b"caf\xe9 latin-1.jpg",
        b"\xff\xfe.jpg",
        "übergröße 桌子 🛋️.jpg".encode(),
        b"-rf.jpg",
        b"--help.jpg",
        b"%s%n %00.jpg",
        b"'quote\"s`$(id)`.jpg",
        b"back\\slash.jpg",
        b"semi;colon&.jpg",
        b"two..dots.tar.jpg",
        b"L" * 251 + b".jpg",
        b"\xe2\x80\xae gpj.exe.jpg",
        b"deep/" * 40 + b"down.jpg",
        b"a.jpg/inside.jpg",
        b"a.jpg.d/inside.jpg",
        b"a/b.jpg",
        b"a.jpeg",
    ]
    for number, name in enumerate(names):
        yield b"names/" + name, image + b"%d" % number, None


def _make_special(folder: Path, expected: dict[bytes, str | None]) -> None:
    """Things that are no plain files, and files that cannot be read."""
    special = folder / "special"
    special.mkdir()
    image = encoded(picture(), "JPEG")
    (special / "target.jpg").write_bytes(image)
    (special / "link.jpg").symlink_to("target.jpg")
    expected |= {b"special/target.jpg": None, b"special/link.jpg": None}
    (special / "broken.jpg").symlink_to("nothing-here.jpg")
    (special / "self.jpg").symlink_to("self.jpg")
    (special / "round-1").symlink_to("round-2")
    (special / "round-2").symlink_to("round-1")
    (special / "up").symlink_to("..")
    (special / "zz-again").symlink_to("../names")
    (special / "device.jpg").symlink_to("/dev/zero")
    (special / "folder.jpg").symlink_to("/dev/null")
    os.mkfifo(special / "pipe.jpg")
    expected |= dict.fromkeys((b"special/pipe.jpg", b"special/device.jpg", b"special/folder.jpg"), "not-a-file")
    loops = (b"special/self.jpg", b"special/round-1", b"special/round-2", b"special/up")
    expected |= dict.fromkeys(loops, "symlink-loop") | {b"special/broken.jpg": "broken-link"}
    with (special / "sparse.jpg").open("wb") as file:
        file.truncate(3 * 1024**3)
    expected[b"special/sparse.jpg"] = "too-large"
    (special / "forbidden.jpg").write_bytes(image)
    (special / "forbidden.jpg").chmod(0)
    expected[b"special/forbidden.jpg"] = None if _ROOT else "permission"
    (special / "closed").mkdir()
    (special / "closed" / "inside.jpg").write_bytes(image)
    (special / "closed").chmod(0)
    expected |= {b"special/closed/inside.jpg": None} if _ROOT else {b"special/closed": "permission"}
    _make_socket(special, expected)


def _make_socket(special: Path, expected: dict[bytes, str | None]) -> None:
    here = Path.cwd()
    os.chdir(special)  # the path of a socket may have a hundred bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.jpg")
    finally:
        os.chdir(here)
    expected[b"special/socket.jpg"] = "not-a-file"


def _make_ignored(folder: Path) -> None:
    """What a scan passes over in silence."""
    image = encoded(picture(), "JPEG")
    for name in (
        ".hidden.jpg",
        ".git/x.jpg",
        "@eaDir/x.jpg",
        "__MACOSX/x.jpg",
        "notes.txt",
        "film.mp4",
        "jpg",
        "no.jpg~",
    ):
        path = folder / "ignored" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + chunk(kind, data) + png[33:]


def png_of(width: int, height: int, depth: int, colour: int, raw: bytes) -> bytes:
    """A PNG whose header claims this size, over the given rows."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def tiff_of(width: int, height: int) -> bytes:
    """A TIFF header without pixels."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    tags.append((279, 4, width * height % 2**32))
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0)


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    data = bytearray(encoded(picture(), "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def claiming(data: bytes, width: int, height: int) -> bytes:
    """An HEIC or AVIF whose size box claims another size."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]
