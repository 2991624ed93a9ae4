"""What bytes are, judged by their first and last few: which picture format, what else, whole or cut off.

Knows magic numbers only; nothing is decoded here, so nothing here can be attacked.
"""

from __future__ import annotations

import struct

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIF"
)
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "a text document"),
    (b"RIFF", "a sound or video file"),
    (b"ID3", "a sound file"),
)


def picture_format(data: bytes) -> str | None:
    """Name the format in Pillow's words (``JPEG``, ``HEIF``...), None when it is none that is read here."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


def _brand(data: bytes) -> str | None:
    """Look at the major brand, then at the compatible ones: ``mif1`` alone does not tell HEIC from AVIF."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[i : i + 4] for i in range(16, end, 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "AVIF" if "AVIF" in names and brands[0] not in {b"heic", b"heix"} else next(iter(names), None)


def describe(data: bytes) -> str:
    """Say what bytes that are no picture seem to be: ``a web page``, ``a PDF document``."""
    for magic, name in _FOREIGN:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "a video or an unknown kind of picture"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "an SVG drawing"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page"
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    text = data[:1024].decode("utf-8", "replace").translate(_SPACES)
    return "text" if text.isprintable() and "\ufffd" not in text[:-1] else "unknown data"


_SPACES = dict.fromkeys(map(ord, "\t\r\n"), " ")


def cut_off(data: bytes, name: str) -> bool:
    """Tell whether a picture that could not be decoded lacks its end, so that copying it again may help."""
    if name == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if name == "PNG":
        return b"IEND" not in data[-64:]
    if name == "GIF":
        return b"\x3b" not in data[-2:]
    if name == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if name == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    return name in {"HEIF", "AVIF"} and _boxes_cut(data)


def lacks_end(data: bytes, name: str) -> bool:
    """Tell whether a JPEG has no end mark behind its pixels: half a file, padded with zeros by a broken download.

    Decoders take the padding for pixels and hand over a picture that is grey from there on.
    """
    return name == "JPEG" and data.find(b"\xff\xd9", _first_scan(data)) < 0


def _first_scan(data: bytes) -> int:
    """Go from segment to segment to where the pixels start; a thumbnail inside a segment has an end mark too."""
    place = 2
    for _ in range(10_000):
        place = data.find(b"\xff", place)
        if place < 0 or place + 4 > len(data):
            return len(data)
        marker = data[place + 1]
        if marker == _SCAN:
            return place
        if marker in _LONE:
            place += 1 if marker == _FILL else 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place


_SCAN, _FILL = 0xDA, 0xFF
_LONE = frozenset({0x00, 0x01, _FILL, *range(0xD0, 0xDA)})


def _boxes_cut(data: bytes) -> bool:
    """Walk the outermost boxes of an ISO media file and see whether the last one runs past the end."""
    place = 0
    while place + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        if size == 1 and place + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, place + 8)
        if size < 8:  # 0 means: up to the end of the file
            return False
        place += size
    return place != len(data)
