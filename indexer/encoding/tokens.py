"""What of a text a tokenizer cuts off, as text.

Knows the two kinds of tokenizer open_clip has: CLIP's own byte pairs, and wrapped Hugging Face ones.
"""

from __future__ import annotations

from typing import Any


def readable(text: str) -> str:
    """Replace what cannot be encoded (lone surrogates, from file names that are not UTF-8)."""
    return text.encode("utf-8", "replace").decode("utf-8")


def tail(tokenizer: Any, text: str, context_length: int) -> str:
    """Give the end of ``text`` that ``context_length`` tokens cannot hold, cleaned as the tokenizer cleans it."""
    clean = tokenizer.clean_fn(readable(text))
    if hasattr(tokenizer, "bpe"):
        return _byte_pair_tail(tokenizer, clean, context_length - 2).strip()  # start and end marks
    return _wrapped_tail(tokenizer, clean, context_length).strip()


def _byte_pair_tail(tokenizer: Any, clean: str, room: int) -> str:
    for word in tokenizer.pat.finditer(clean):
        symbols = "".join(tokenizer.byte_encoder[byte] for byte in word[0].encode())
        parts = tokenizer.bpe(symbols).split(" ")
        if len(parts) > room:
            kept = sum(len(part.removesuffix("</w>")) for part in parts[:room])  # one symbol is one byte
            whole = word[0].encode()[:kept].decode("utf-8", "ignore")  # a character cut in half is lost
            return clean[word.start() + len(whole) :]
        room -= len(parts)
    return ""


def _wrapped_tail(tokenizer: Any, clean: str, context_length: int) -> str:
    inner = tokenizer.tokenizer
    marks = 3 if tokenizer.tokenizer_mode == "clips" else inner.num_special_tokens_to_add()
    room = context_length - marks
    if not inner.is_fast:
        return str(inner.decode(inner(clean, add_special_tokens=False, verbose=False).input_ids[room:]))
    offsets = inner(clean, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return clean[offsets[room][0] :] if len(offsets) > room else ""
