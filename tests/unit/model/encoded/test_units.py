"""Units that are read when they are used are those that were encoded."""

from __future__ import annotations

import pytest

from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.encoded.outline import WINDOW_BYTES
from ckptd.model.manifest import Manifest, Unit, encode_manifest
from tests.support.manifests import make_unit

SMALL = tuple(make_unit(f"a/{number:05}", b"%d" % number) for number in range(2000))
LARGE = Unit(
    path="b",
    size_bytes=WINDOW_BYTES * 2**18 // 32,
    digest=bytes(32),
    block_size_bytes=2**18,
    block_digests=bytes(WINDOW_BYTES),
)
UNITS = (*SMALL[:1000], LARGE, *(make_unit(f"c/{number:05}", b"") for number in range(1000)))


@pytest.mark.parametrize("units", [(), SMALL[:1], (LARGE,), SMALL, UNITS])
def test_units_are_those_that_were_encoded(units: tuple[Unit, ...]) -> None:
    manifest = Manifest(format=1, checkpoint="c", version=1, units=units)
    encoded = decode_manifest(encode_manifest(manifest)).units
    assert len(encoded) == len(units)
    assert list(encoded) == list(units)
    assert [encoded[index] for index in range(len(units))] == list(units)
    assert encoded == units
    assert units == encoded
    assert encoded != (*units, LARGE)
    assert encoded[1:5] == units[1:5]
    for index in (len(units), -len(units) - 1):
        with pytest.raises(IndexError):
            encoded[index]


def test_the_last_units_have_negative_indices() -> None:
    manifest = Manifest(format=1, checkpoint="c", version=1, units=SMALL)
    encoded = decode_manifest(encode_manifest(manifest)).units
    assert (encoded[-1], encoded[-2000]) == (SMALL[-1], SMALL[0])


def test_the_unit_that_was_used_last_is_not_read_again() -> None:
    encoded = decode_manifest(
        encode_manifest(Manifest(format=1, checkpoint="c", version=1, units=SMALL))
    ).units
    assert encoded[7] is encoded[7]
    assert encoded[7] is not encoded[8]


def test_digests_of_blocks_are_not_copied() -> None:
    data = encode_manifest(Manifest(format=1, checkpoint="c", version=1, units=(LARGE,)))
    (unit,) = decode_manifest(data).units
    assert isinstance(unit.block_digests, memoryview)
    assert unit.block_digests.obj is data
