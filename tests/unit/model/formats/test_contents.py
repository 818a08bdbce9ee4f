"""Which bytes a reading asks for, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save

from ckptd.errors import InvalidFormat
from ckptd.model.formats.contents import finished, reading_tensors
from ckptd.model.formats.dcp_metadata import METADATA_BYTES_MAX

WEIGHTS = save({"a": numpy.arange(1000, dtype="int32"), "b": numpy.ones(1)})
(DCP, *_) = sorted((Path(__file__).parent / "dcp").glob("plain-*"))


class Source:
    """Bytes that are handed out range by range, which is written down."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        return self.content[start:end]


def test_of_weights_only_the_header_is_asked_for() -> None:
    source = Source(WEIGHTS)
    found = finished(reading_tensors("m.safetensors", len(WEIGHTS)), source.read)
    header_end = 8 + int.from_bytes(WEIGHTS[:8], "little")
    assert source.asked == [(0, 8), (8, header_end)]
    assert {tensor.name for tensor in found} == {"a", "b"}


def test_metadata_is_asked_for_at_once() -> None:
    content = (DCP / ".metadata").read_bytes()
    source = Source(content)
    found = finished(reading_tensors("step/.metadata", len(content)), source.read)
    assert source.asked == [(0, len(content))]
    assert "step/__0_0.distcp" in {tensor.unit for tensor in found}


@pytest.mark.parametrize(
    ("unit", "unit_bytes", "asked"),
    [
        ("a/.metadata", METADATA_BYTES_MAX + 1, []),
        ("m.safetensors", 3, [(0, 3)]),
        ("m.safetensors", 2**40, [(0, 8)]),
        ("config.json", 20, [(0, 8)]),
    ],
)
def test_what_cannot_be_is_refused_before_more_is_asked_for(
    unit: str, unit_bytes: int, asked: list[tuple[int, int]]
) -> None:
    source = Source(b'{"a": "some text"}  ')
    with pytest.raises(InvalidFormat):
        finished(reading_tensors(unit, unit_bytes), source.read)
    assert source.asked == asked


def test_bytes_that_end_early_are_refused() -> None:
    with pytest.raises(InvalidFormat):
        finished(reading_tensors("m.safetensors", len(WEIGHTS)), lambda *_: WEIGHTS[:8])
