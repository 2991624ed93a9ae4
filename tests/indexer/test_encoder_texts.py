"""Texts: what is cut off, what cannot be encoded, and tokenizers that come with a model."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from indexer.encoder import OpenClipEncoder, load_encoder
from tests.indexer.encoder_models import SIGLIP, VIT, cosines, write_model


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> OpenClipEncoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = write_model(tmp_path_factory.mktemp("models") / "vit", VIT)
    return load_encoder(f"local-dir:{folder}", device="cpu", precision="fp32")


def test_the_tail_that_is_cut_off(vit: OpenClipEncoder) -> None:
    words = [f"chair {letter}" for letter in "abcdefghijk"]  # two tokens each, 14 fit
    text = "  ".join(words).upper()
    assert vit.truncated(text) == "chair h chair i chair j chair k"
    assert vit.truncated(" ".join(words[:7])) == vit.truncated("") == ""
    np.testing.assert_array_equal(vit.encode_texts([text]), vit.encode_texts([" ".join(words[:7])]))
    assert vit.truncated("a " * 14 + "😀 and") == "😀 and"
    assert vit.truncated("a " * 13 + "supercalifragilistic") == "califragilistic"


def test_texts_that_cannot_be_encoded_are_made_readable(vit: OpenClipEncoder) -> None:
    odd = "chair \udcff"
    np.testing.assert_array_equal(vit.encode_texts([odd]), vit.encode_texts(["chair ?"]))
    assert vit.truncated(odd) == ""


def test_one_text_is_not_a_list_of_letters(vit: OpenClipEncoder) -> None:
    with pytest.raises(TypeError, match="takes a list of texts"):
        vit.encode_texts("chair")


def test_a_hugging_face_tokenizer_in_the_folder(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "a", "red", "chair", "and", "sofa"]
    inner = Tokenizer(models.WordLevel({word: rank for rank, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    asked = {"clean": "canonicalize", "trust_remote_code": True}  # which is not granted
    named = {"vocab_size": 16, "hf_tokenizer_name": "nobody/nothing", "tokenizer_kwargs": asked}
    config = {**SIGLIP, "text_cfg": {**SIGLIP["text_cfg"], **named}}
    write_model(tmp_path, config)
    PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>").save_pretrained(tmp_path)

    encoder = load_encoder(f"local-dir:{tmp_path}", device="cpu", precision="fp32")
    long = "A red chair, " * 5 + "and a sofa"  # 15 words fit, the end mark is the sixteenth
    assert encoder.truncated(long) == "and a sofa"
    rows = encoder.encode_texts([long, "a red chair " * 5, "a red chair"])
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert cosines(rows[1:2], rows[2:])[0] < 0.9999
