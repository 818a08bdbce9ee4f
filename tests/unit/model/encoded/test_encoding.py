"""Manifests encoded unit by unit, compared with those that are encoded at once."""

from __future__ import annotations

import msgspec
import pytest

from ckptd.model.bare_names import SymbolicLink
from ckptd.model.encoded.encoding import encoded_with
from ckptd.model.manifest import ONE_PHASE, Manifest, Unit, encode_manifest
from ckptd.model.words import Criticality
from tests.support.manifests import make_manifest


def unit(number: int) -> Unit:
    return Unit(
        path=f"p{number:06}",
        size_bytes=1,
        digest=b"d" * 32,
        block_size_bytes=2**18,
        block_digests=b"d" * 32,
        criticality=Criticality.DEFERRED,
    )


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65535, 65536])
def test_the_bytes_are_the_same_however_many_units_there_are(count: int) -> None:
    words = Manifest(format=1, checkpoint="units", version=2**40, units=())
    units = tuple(map(unit, range(count)))
    whole = encode_manifest(msgspec.structs.replace(words, units=units))
    assert encoded_with(words, iter(units), count) == whole


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"links": (SymbolicLink("a", "b"),), "requires": ("links",)},
        {"run": "r", "phases": ("x", "y"), "annotations": {"units": "b", "a": "units"}},
        {"phases": tuple(ONE_PHASE), "created_at_s": 7, "directories": ("units",)},
    ],
)
def test_whatever_it_says_beside_them_the_bytes_are_the_same(words: dict[str, object]) -> None:
    made = make_manifest({"units": b"1", "sub/x": b""})
    whole = msgspec.structs.replace(made, **words)
    without = msgspec.structs.replace(whole, units=())
    encoded = encoded_with(without, made.units, len(made.units))
    assert encoded == encode_manifest(whole)
    assert encoded.readonly
