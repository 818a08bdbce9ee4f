"""Any bytes of the largest size are decoded or refused in little memory, and in short calls."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from ckptd.errors import InvalidManifest
from ckptd.limits import DIGEST_BYTES, KIB, MANIFEST_WORDS_BYTES_MAX, MIB
from ckptd.model.encoded import decoding, outline, units
from ckptd.model.encoded.decoding import decode_manifest, read_manifest
from ckptd.model.encoded.outline import WINDOW_BYTES
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from tests.support.bombs import BOMBS, HONEST

SIZE_BYTES = 1 * MIB
FREE_BYTES = 1 * MIB
"""What windows and words take, whatever the size."""


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_memory_for_any_bytes_is_half_of_the_bytes(make: Callable[[int], bytes]) -> None:
    """So the largest body and what is made of it are at most 97 MiB."""
    data = make(SIZE_BYTES)
    assert SIZE_BYTES // 2 < len(data) <= SIZE_BYTES
    tracemalloc.start()
    try:
        with suppress(InvalidManifest):
            AddressSpace(decode_manifest(data))
        assert tracemalloc.get_traced_memory()[1] < SIZE_BYTES // 2 + FREE_BYTES
    finally:
        tracemalloc.stop()


def test_as_many_words_as_there_may_be_take_little_memory() -> None:
    data = BOMBS["annotations"](MANIFEST_WORDS_BYTES_MAX)
    assert len(data) > MANIFEST_WORDS_BYTES_MAX * 9 // 10
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifest, match="more than 256 annotations"):
            decode_manifest(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_decoder_gets_a_window_at_most_or_one_unit(
    make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of a decoder keeps all other threads out until it returns."""
    handed: list[int] = []

    class Watched:
        def __init__(self, decode: Callable[[bytes | memoryview], object]) -> None:
            self._decode = decode

        def decode(self, data: bytes | memoryview) -> object:
            handed.append(len(data))
            return self._decode(data)

    monkeypatch.setattr(outline, "_RAWS", Watched(outline._RAWS.decode))
    monkeypatch.setattr(units, "_UNITS", Watched(units._UNITS.decode))
    with suppress(InvalidManifest):
        AddressSpace(decode_manifest(make(SIZE_BYTES)))
    assert max(handed, default=0) <= WINDOW_BYTES + 5


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST.keys())
def test_what_jobs_publish_is_decoded(make: Callable[[int], bytes]) -> None:
    data = make(SIZE_BYTES)
    manifest = decode_manifest(data)
    kept = sum(len(unit.block_digests) for unit in manifest.units)
    assert AddressSpace(manifest).block_count == kept // DIGEST_BYTES > 0


def test_what_was_checked_before_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = HONEST["many files"](64 * KIB)

    def check(manifest: Manifest) -> None:
        raise AssertionError("checked")

    monkeypatch.setattr(decoding, "check_manifest", check)
    assert len(read_manifest(data).units) > 400
