"""Outlines: every unit is found, however it is written, and what is too large is refused."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.errors import InvalidManifest
from ckptd.limits import KIB, MANIFEST_WORDS_BYTES_MAX, MIB, UNIT_WORDS_BYTES_MAX
from ckptd.model.encoded import outline as module
from ckptd.model.encoded.outline import WINDOW_BYTES, Outline, outline_of

UNIT: dict[str, object] = {"path": "x", "digest": bytes(32), "block_digests": b""}


def encode(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def listed(*units: object, **words: object) -> bytes:
    return encode({"format": 1, "units": list(units), "version": 3} | words)


def outlined(data: bytes) -> Outline:
    return outline_of(memoryview(data))


def found(data: bytes) -> list[object]:
    starts = outlined(data).starts
    assert starts is not None
    return [msgspec.msgpack.decode(data[start:end]) for start, end in pairwise(starts)]


LISTS = {
    "none": [],
    "one": [UNIT],
    "as many as fill many windows": [UNIT | {"path": f"{n:06}"} for n in range(5000)],
    "longer than a window": [UNIT | {"block_digests": bytes(3 * WINDOW_BYTES)}] * 3,
    "of mixed lengths": [UNIT | {"block_digests": bytes(32 * n)} for n in range(0, 4000, 97)],
    "with the first key in other places": [
        UNIT | {"path": f"{n}\u2164path", "digest": b"\x85\xa4path" * n} for n in range(900)
    ],
    "without a first key": [{}, UNIT, {}] * 500,
    "with different first keys": [UNIT if n % 2 else dict([*UNIT.items()][::-1]) for n in range(9)],
    "with many pairs": [{str(n): n for n in range(20)}] * 50,
    "with the key of the list": [{"units": [1, 2]}] * 50,
}


@pytest.mark.parametrize("units", LISTS.values(), ids=LISTS.keys())
def test_each_unit_is_found(units: list[object]) -> None:
    assert found(listed(*units)) == units
    assert found(listed(*units, zz=[UNIT] * 30)) == units


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["path", "block_digests", "flags", ""]),
            st.binary(max_size=400) | st.just("\x81\xa4path") | st.integers(-9, 2**60),
        ),
        max_size=80,
    ),
    st.sampled_from([8, 64, 1024]),
)
@settings(max_examples=100)
def test_each_unit_is_found_whatever_the_windows(units: list[object], window_bytes: int) -> None:
    before = module.WINDOW_BYTES
    module.WINDOW_BYTES = window_bytes  # type: ignore[misc]
    try:
        assert found(listed(*units)) == units
    finally:
        module.WINDOW_BYTES = before  # type: ignore[misc]


def test_words_are_everything_but_the_units() -> None:
    words = outlined(listed(UNIT, UNIT, run="r")).words
    assert msgspec.msgpack.decode(words) == {"format": 1, "version": 3, "run": "r"}


def test_units_that_are_no_list_are_among_the_words() -> None:
    outline = outlined(encode({"units": "x"}))
    assert (msgspec.msgpack.decode(outline.words), outline.starts) == ({"units": "x"}, None)


TOO_LARGE = {
    "words": listed(run="x" * MANIFEST_WORDS_BYTES_MAX),
    "words in pieces": listed(
        **{str(n): "x" * KIB for n in range(MANIFEST_WORDS_BYTES_MAX // KIB)}
    ),
    "a key": listed(**{"x" * MANIFEST_WORDS_BYTES_MAX: 0}),
    "a path": listed(UNIT | {"path": "x" * UNIT_WORDS_BYTES_MAX}, UNIT),
    "a digest": listed(UNIT | {"digest": bytes(MIB)}),
    "facts": listed(*[UNIT] * 100, UNIT | {"facts": {str(n): "" for n in range(10_000)}}, UNIT),
    "after many digests": listed(
        UNIT | {"block_digests": bytes(MIB), "after": [0] * UNIT_WORDS_BYTES_MAX}
    ),
    "digests that are none": listed(UNIT | {"block_digests": "x" * UNIT_WORDS_BYTES_MAX}),
}


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_what_is_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest, match="says more in one place than it may"):
        outlined(data)


def test_limits_are_reached_before_they_are_passed() -> None:
    spare = MANIFEST_WORDS_BYTES_MAX - len(outlined(listed(run="x" * 70_000)).words) + 5
    outlined(listed(run="x" * (70_000 + spare)))
    with pytest.raises(InvalidManifest):
        outlined(listed(run="x" * (70_001 + spare)))
    no_digests = len(encode(b""))
    spare = UNIT_WORDS_BYTES_MAX + no_digests - len(encode(UNIT | {"path": "x" * 300}))
    outlined(listed(UNIT | {"path": "x" * (300 + spare)}))
    with pytest.raises(InvalidManifest):
        outlined(listed(UNIT | {"path": "x" * (301 + spare)}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encode([]), "no map"),
        (listed(3), "a unit that is no map"),
        (listed(UNIT) + b"\x00", "goes on behind its end"),
        (b"\x82" + 2 * (encode("units") + b"\x90"), "two lists of units"),
        (listed(*[UNIT] * 40)[:-500], "cut off"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidManifest, match=words):
        outlined(data)
