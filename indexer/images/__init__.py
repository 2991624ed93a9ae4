"""Pictures: from a file or bytes, through all the oddities of eight formats, to RGB pixels. Pillow lives here."""

from indexer.images.decoding import Decoded, decode, open_picture
from indexer.images.files import (
    MAX_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    Limits,
    check_size,
    content_hash,
    file_error,
    read_bytes,
)
from indexer.images.shaping import Interpolation, Mode, difference_hash, resize

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Decoded",
    "Interpolation",
    "Limits",
    "Mode",
    "check_size",
    "content_hash",
    "decode",
    "difference_hash",
    "file_error",
    "open_picture",
    "read_bytes",
    "resize",
]
