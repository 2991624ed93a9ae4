"""Which device and which number format a machine gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.encoding import precision
from indexer.errors import EncoderError


def test_devices_and_precisions_there_are_not() -> None:
    for wanted in ("cuda:99", "abacus", "meta"):
        with pytest.raises(EncoderError, match=f"there is no device '{wanted}' on this machine; use one of: .*cpu"):
            precision.choose_device(wanted)
    with pytest.raises(EncoderError, match="there is no precision 'fp8'; use one of: auto, fp32, bf16, fp16"):
        precision.choose_precision("fp8", precision.choose_device("cpu"))


def test_precision_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for does, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(precision, "_cpu_does_bf16", lambda does=does: does)
        assert precision.choose_precision("auto", torch.device("cpu")) == chosen
    for capability, chosen in (((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, capability=capability: capability)
        assert precision.choose_precision(None, torch.device("cuda")) == chosen
    assert precision.choose_precision(None, torch.device("mps")) == "fp32"


def test_bf16_is_read_from_cpuinfo_when_torch_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, ask, raising=False)
    for flags, does in (("flags\t: sse avx512_bf16", True), ("Features : fp asimd bf16", True), ("flags : sse", False)):
        monkeypatch.setattr(Path, "read_text", lambda *_, flags=flags: f"processor : 0\n{flags}\n")
        assert precision._cpu_does_bf16() is does
