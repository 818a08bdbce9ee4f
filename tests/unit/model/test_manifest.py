"""Every rule of a manifest, broken one at a time; and bytes that mean harm."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.errors import ExitCode, InvalidManifest
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_BYTES_MIN,
    GIB,
    KIB,
    MANIFEST_ANNOTATIONS_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_PHASES_MAX,
    MANIFEST_UNITS_MAX,
    MIB,
    PATH_DEPTH_MAX,
    PHASE_NAME_CHARACTERS_MAX,
    UNIT_BYTES_MAX,
    UNIT_PREREQUISITES_MAX,
    VERSION_MAX,
)
from ckptd.model import manifest as module
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.manifest import (
    Manifest,
    block_size_for,
    check_manifest,
    encode_manifest,
    urgency,
)
from ckptd.model.words import Criticality
from tests.support.manifests import make_manifest, make_unit

CRITICAL, NORMAL, DEFERRED = Criticality

PLAIN = make_manifest(
    {"config.json": b"{}", "model/weights": bytes(700 * KIB), "model/empty": b""},
    critical=["config.json"],
    deferred=["model/empty"],
)


def changed(manifest: Manifest = PLAIN, **fields: object) -> Manifest:
    return msgspec.structs.replace(manifest, **fields)


def with_unit(**fields: object) -> Manifest:
    """Return a manifest of one unit that differs from a good one in some fields."""
    return changed(units=(msgspec.structs.replace(make_unit("x", b"abc"), **fields),))


def packed(**fields: bytes) -> bytes:
    """Encode a map of which the values are encoded already."""
    pairs = (msgspec.msgpack.encode(name) + value for name, value in fields.items())
    return bytes([0x80 + len(fields)]) + b"".join(pairs)


def with_after(after: Mapping[str, Sequence[str]], **of_units: Mapping[str, object]) -> Manifest:
    """Return a manifest of some units, each of which comes after others.

    Args:
        after: What each comes after, by path.
        of_units: Fields of some of them, by path.
    """
    paths = sorted({*after, *(each for some in after.values() for each in some)})
    units = [
        msgspec.structs.replace(make_unit(path, path.encode()), **of_units.get(path, {}))
        for path in paths
    ]
    units.sort(key=urgency)
    places = {unit.path: index for index, unit in enumerate(units)}
    return Manifest(
        format=1,
        checkpoint="c",
        version=1,
        phases=("core", "rest"),
        units=tuple(
            msgspec.structs.replace(
                unit, after=tuple(places[each] for each in after.get(unit.path, ()))
            )
            for unit in units
        ),
    )


# Round trips


def test_a_manifest_survives_its_encoding() -> None:
    assert decode_manifest(encode_manifest(PLAIN)) == PLAIN
    assert decode_manifest(memoryview(encode_manifest(PLAIN))) == PLAIN


def test_a_manifest_without_units_is_a_manifest() -> None:
    empty = Manifest(format=1, checkpoint="c", version=0, units=())
    assert decode_manifest(encode_manifest(empty)) == empty


def test_everything_a_manifest_may_say_survives_its_encoding() -> None:
    unit = msgspec.structs.replace(
        make_unit("bin/run", b"#!"),
        phase=1,
        is_executable=True,
        after=(0,),
        flags=("sharded",),
        facts={"dtype": "bf16"},
    )
    full = changed(
        units=(make_unit("a", b"1"), unit),
        run="run-7",
        created_at_s=1_700_000_000,
        annotations={"job": "llama", "owner": "ops"},
        phases=("weights", "rest"),
    )
    assert decode_manifest(encode_manifest(full)) == full


def test_equal_content_gives_equal_bytes() -> None:
    contents = {"b": b"2", "a": b"1", "c": b"3"}
    backwards = dict(reversed(contents.items()))
    one = changed(make_manifest(contents), annotations={"x": "1", "y": "2"})
    other = changed(make_manifest(backwards), annotations={"y": "2", "x": "1"})
    assert encode_manifest(one) == encode_manifest(other)
    assert encode_manifest(decode_manifest(encode_manifest(one))) == encode_manifest(one)


def test_what_is_not_said_costs_no_bytes() -> None:
    said = encode_manifest(changed(annotations={}, requires=(), run="", phases=("all",)))
    assert said == encode_manifest(PLAIN)
    for silent in (b"annotations", b"requires", b"phases", b"after", b"flags", b"facts"):
        assert silent not in said


def test_the_encoding_of_a_small_manifest_does_not_change() -> None:
    """The identity of what is published must survive every later version."""
    manifest = Manifest(
        format=1,
        checkpoint="llama/rank-0",
        version=1200,
        units=(make_unit("model.bin", b"weights", criticality=CRITICAL),),
    )
    identity = "d86caccbea6ec0d8f22e579fd523fcd182963ef69f75f415c10279d5d393244b"
    assert blake3(encode_manifest(manifest)).hexdigest() == identity


# Order


def test_the_encoding_of_phases_and_prerequisites_does_not_change() -> None:
    manifest = with_after({"b": ("a",), "c": ("a", "b")}, c={"phase": 1})
    identity = "62e929d399bdfddca2affc0d24b9aebbed1a07098c8504db45970460e9782ec7"
    assert blake3(encode_manifest(manifest)).hexdigest() == identity


def test_units_are_ordered_by_phase_then_criticality_then_path() -> None:
    keys = [
        urgency(msgspec.structs.replace(make_unit(path, b""), phase=phase, criticality=criticality))
        for phase, criticality, path in [
            (0, CRITICAL, "z"),
            (0, NORMAL, "a"),
            (0, NORMAL, "a/b"),
            (0, NORMAL, "b"),
            (0, DEFERRED, "a"),
            (1, CRITICAL, "a"),
        ]
    ]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("flags", "criticality", "is_optional"),
    [
        (("optional",), Criticality.NORMAL, True),
        (("x", "optional"), Criticality.DEFERRED, True),
        ((), Criticality.NORMAL, False),
        (("Optional", "x"), Criticality.DEFERRED, False),
        (("optional",), Criticality.CRITICAL, False),
    ],
)
def test_a_unit_is_optional_by_its_flag_unless_it_is_critical(
    flags: tuple[str, ...], criticality: Criticality, is_optional: bool
) -> None:
    unit = msgspec.structs.replace(make_unit("a", b"x", criticality=criticality), flags=flags)
    assert unit.is_optional is is_optional


def test_a_criticality_is_called_by_its_word() -> None:
    assert [criticality.label for criticality in Criticality] == ["critical", "normal", "deferred"]


# Block sizes


@pytest.mark.parametrize(
    ("size_bytes", "block_size_bytes"),
    [
        (0, 256 * KIB),
        (1, 256 * KIB),
        (16 * KIB, 256 * KIB),
        (512 * MIB - 1, 256 * KIB),
        (512 * MIB, 256 * KIB),
        (512 * MIB + 1, 512 * KIB),
        (1 * GIB, 512 * KIB),
        (1 * GIB + 1, 1 * MIB),
        (2 * GIB, 1 * MIB),
        (32 * GIB, 16 * MIB),
        (32 * GIB + 1, 16 * MIB),
        (1024 * GIB, 16 * MIB),
        (UNIT_BYTES_MAX, 16 * MIB),
    ],
)
def test_a_block_is_a_2048th_of_its_unit_between_256_kib_and_16_mib(
    size_bytes: int, block_size_bytes: int
) -> None:
    assert block_size_for(size_bytes) == block_size_bytes


@given(st.integers(0, UNIT_BYTES_MAX))
def test_a_block_size_is_a_power_of_two_that_makes_at_most_2048_blocks_if_it_can(
    size_bytes: int,
) -> None:
    size = block_size_for(size_bytes)
    assert size & (size - 1) == 0
    assert BLOCK_BYTES_MIN <= size <= BLOCK_BYTES_MAX
    assert -(-size_bytes // size) <= 2048 or size == BLOCK_BYTES_MAX
    assert size == BLOCK_BYTES_MIN or -(-size_bytes // (size // 2)) > 2048


@pytest.mark.parametrize(
    ("size_bytes", "block_count"),
    [
        (0, 0),
        (1, 1),
        (256 * KIB - 1, 1),
        (256 * KIB, 1),
        (256 * KIB + 1, 2),
        (512 * KIB, 2),
    ],
)
def test_a_unit_has_as_many_blocks_as_its_size_takes(size_bytes: int, block_count: int) -> None:
    assert make_unit("x", bytes(size_bytes)).block_count == block_count


def test_the_size_of_a_manifest_is_that_of_its_units() -> None:
    assert PLAIN.size_bytes == 2 + 700 * KIB


# Rules


RULES = {
    "is not components of letters": changed(checkpoint="../etc"),
    f"is not between 0 and {VERSION_MAX}": changed(version=-1),
    "has 0 phases": changed(phases=()),
    f"has {MANIFEST_PHASES_MAX + 1} phases": changed(phases=("p",) * (MANIFEST_PHASES_MAX + 1)),
    "names a phase 'Core': not 1 to 32 small letters": changed(phases=("Core",)),
    "names a phase '': not 1 to 32": changed(phases=("",)),
    "names a phase '-a'": changed(phases=("-a",)),
    "names a phase 'core\\n'": changed(phases=("core\n",)),
    "names a phase 'ccc": changed(phases=("c" * (PHASE_NAME_CHARACTERS_MAX + 1),)),
    "names two phases 'rest'": changed(phases=("core", "rest", "rest")),
    "annotations": changed(
        annotations={str(index): "" for index in range(MANIFEST_ANNOTATIONS_MAX + 1)}
    ),
    "gives 'x' a size of -1 bytes": with_unit(size_bytes=-1),
    f"gives 'x' a size of {UNIT_BYTES_MAX + 1} bytes": with_unit(size_bytes=UNIT_BYTES_MAX + 1),
    "gives 'x' blocks of 0 bytes": with_unit(block_size_bytes=0),
    f"gives 'x' blocks of {BLOCK_BYTES_MIN // 2} bytes": with_unit(
        block_size_bytes=BLOCK_BYTES_MIN // 2
    ),
    f"gives 'x' blocks of {BLOCK_BYTES_MAX * 2} bytes": with_unit(
        block_size_bytes=BLOCK_BYTES_MAX * 2
    ),
    f"gives 'x' blocks of {3 * BLOCK_BYTES_MIN} bytes": with_unit(
        block_size_bytes=3 * BLOCK_BYTES_MIN
    ),
    "gives 'x' a digest of 31 bytes": with_unit(digest=bytes(31)),
    "gives 'x' a digest of 0 bytes": with_unit(digest=b""),
    "does not give 'x' one digest for each block": with_unit(block_digests=b""),
    "does not give 'x' one digest for each block ": with_unit(block_digests=bytes(64)),
    "does not give 'x' one digest for each block  ": with_unit(block_digests=bytes(33)),
    "does not give 'x' one digest for each block   ": with_unit(size_bytes=0),
    "puts 'x' in phase 1 of 1": with_unit(phase=1),
    "puts 'x' in phase -1 of 1": with_unit(phase=-1),
    "puts 'x' after a unit that does not exist": with_unit(after=(1,)),
    "puts 'x' after a unit that does not exist ": with_unit(after=(-1,)),
    "puts 'x' after itself": with_unit(after=(0,)),
    "names what 'c' comes after twice or out of order": with_after({"c": ("a", "a")}),
    "names what 'c' comes after twice or out of order ": with_after({"c": ("b", "a")}),
    f"puts 'x' after {UNIT_PREREQUISITES_MAX + 1} units, more than {UNIT_PREREQUISITES_MAX}": (
        with_unit(after=tuple(range(UNIT_PREREQUISITES_MAX + 1)))
    ),
    "puts units after themselves: 'a' → 'b' → 'a'": with_after({"a": ("b",), "b": ("a",)}),
    "puts units after themselves: 'b' → 'd' → 'c' → 'b'": with_after(
        {"a": ("b",), "b": ("d",), "c": ("b",), "d": ("c",)}
    ),
    "puts units after themselves: 'n00' → 'n01' → 'n02' → 'n03' → 'n04' → 'n05' → 'n06' → 'n07' → "
    "(12 more) → 'n00'": with_after({f"n{at:02}": (f"n{(at + 1) % 20:02}",) for at in range(20)}),
    "puts 'b' after 'c', which is less urgent or of a later phase": with_after(
        {"b": ("a", "c"), "c": ("a",)}, c={"criticality": DEFERRED}
    ),
    "puts 'b' after 'c', which is less urgent or of a later phase ": with_after(
        {"b": ("c",), "c": ("a",)},
        a={"criticality": CRITICAL},
        c={"phase": 1, "criticality": CRITICAL},
    ),
    "lists 'a' twice or out of urgency order": changed(
        units=(make_unit("b", b""), make_unit("a", b""))
    ),
    "lists 'a' twice or out of urgency order ": changed(
        units=(make_unit("a", b""), make_unit("a", b""))
    ),
    "lists 'b' twice or out of urgency order": changed(
        units=(make_unit("a", b"", criticality=DEFERRED), make_unit("b", b""))
    ),
    "lists a path twice": changed(
        units=(make_unit("a", b"", criticality=CRITICAL), make_unit("a", b""))
    ),
    "has 'a' as a file and as a directory": changed(
        units=(make_unit("a", b""), make_unit("a/b", b""))
    ),
    "has 'a/b' as a file and as a directory": changed(
        units=(make_unit("a/b/c/d", b"", criticality=CRITICAL), make_unit("a/b", b""))
    ),
    "has 'a' as a file and as a directory ": changed(
        units=tuple(make_unit(path, b"") for path in ("a", "a-", "a-b/c", "a.d", "a/b"))
    ),
    "has 'a/b' as a file and as a directory ": changed(
        units=(
            make_unit("a/b", b"", criticality=CRITICAL),
            *(make_unit(path, b"") for path in ("a/b-", "a/b/c/d", "a/c")),
        )
    ),
}


@pytest.mark.parametrize(("words", "manifest"), RULES.items(), ids=range(len(RULES)))
def test_a_broken_rule_is_named(words: str, manifest: Manifest) -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_manifest(manifest)
    assert words.strip() in caught.value.problem
    with pytest.raises(InvalidManifest):
        decode_manifest(encode_manifest(manifest))


def test_a_broken_rule_is_a_failed_verification_to_a_script() -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_manifest(changed(phases=()))
    assert caught.value.exit_code is ExitCode.VERIFICATION
    assert str(caught.value) == "manifest: has 0 phases, not 1 to 256"


def test_limits_are_reached_before_they_are_passed() -> None:
    deep = "/".join(["d"] * PATH_DEPTH_MAX)
    check_manifest(
        changed(
            units=(make_unit(deep, b""),),
            version=VERSION_MAX,
            phases=tuple(f"p{index}" for index in range(MANIFEST_PHASES_MAX)),
            annotations={str(index): "" for index in range(MANIFEST_ANNOTATIONS_MAX)},
        )
    )


@pytest.mark.parametrize(
    ("limit", "words"),
    [("MANIFEST_UNITS_MAX", "has 3 units"), ("MANIFEST_BLOCKS_MAX", "has 4 blocks")],
)
def test_too_many_units_or_blocks_are_refused(
    limit: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, {"MANIFEST_UNITS_MAX": 3, "MANIFEST_BLOCKS_MAX": 4}[limit])
    check_manifest(PLAIN)
    monkeypatch.setattr(module, limit, {"MANIFEST_UNITS_MAX": 2, "MANIFEST_BLOCKS_MAX": 3}[limit])
    with pytest.raises(InvalidManifest, match=words):
        check_manifest(PLAIN)


def test_a_manifest_of_another_format_asks_for_a_newer_ckptd() -> None:
    with pytest.raises(InvalidManifest, match="has format 2; this ckptd reads format 1") as caught:
        decode_manifest(encode_manifest(changed(format=2)))
    assert "as new as the publisher's" in caught.value.hint


def test_a_newer_format_is_said_though_its_units_cannot_be_read() -> None:
    data = packed(format=msgspec.msgpack.encode(2), units=msgspec.msgpack.encode("elsewhere"))
    with pytest.raises(InvalidManifest, match="has format 2"):
        decode_manifest(data)


def test_an_unknown_required_feature_is_refused_by_name() -> None:
    with pytest.raises(InvalidManifest, match="requires 'slices, zstd', which this ckptd"):
        decode_manifest(encode_manifest(changed(requires=("zstd", "slices"))))


def test_a_required_feature_with_an_endless_name_is_cut_short() -> None:
    with pytest.raises(InvalidManifest, match="requires 'x") as caught:
        decode_manifest(encode_manifest(changed(requires=("x" * 20 * KIB,) * 10)))
    assert len(str(caught.value)) < 500
    with pytest.raises(InvalidManifest, match="says more in one place than it may"):
        decode_manifest(encode_manifest(changed(requires=("x" * MIB,) * 10)))


def test_an_unknown_field_is_left_alone() -> None:
    fields = msgspec.msgpack.decode(encode_manifest(PLAIN))
    data = msgspec.msgpack.encode(fields | {"colour": "blue"})
    assert decode_manifest(data) == PLAIN


# Bytes that mean harm


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with suppress(InvalidManifest):
        check_manifest(decode_manifest(data))


@settings(max_examples=1000)
@given(st.data())
def test_a_damaged_manifest_is_a_manifest_or_refused(data: st.DataObject) -> None:
    good = bytearray(encode_manifest(PLAIN))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(good) - 1))
        good[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    for damaged in (bytes(good), bytes(good[:cut])):
        with suppress(InvalidManifest):
            check_manifest(decode_manifest(damaged))


def test_every_prefix_of_a_manifest_is_refused() -> None:
    data = encode_manifest(PLAIN)
    for end in range(len(data)):
        with pytest.raises(InvalidManifest):
            decode_manifest(data[:end])


def test_more_bytes_than_a_manifest_may_have_are_not_read() -> None:
    with pytest.raises(InvalidManifest, match=f"more than {MANIFEST_BYTES_MAX}"):
        decode_manifest(bytes(MANIFEST_BYTES_MAX + 1))


ONE = msgspec.msgpack.encode(1)
NAME = msgspec.msgpack.encode("c")
ARRAY_OF_2_32 = b"\xdd\xff\xff\xff\xff"
MAP_OF_2_32 = b"\xdf\xff\xff\xff\xff"
STRING_OF_2_32 = b"\xdb\xff\xff\xff\xff"
BYTES_OF_2_32 = b"\xc6\xff\xff\xff\xff"
NO_UNITS = b"\x90"

BOMBS = {
    "units": packed(format=ONE, units=ARRAY_OF_2_32),
    "a million units": packed(format=ONE, units=b"\xdd" + MANIFEST_UNITS_MAX.to_bytes(4, "big")),
    "units as a map": packed(format=ONE, units=MAP_OF_2_32),
    "requires": packed(format=ONE, requires=ARRAY_OF_2_32, units=NO_UNITS),
    "phases": packed(
        format=ONE, checkpoint=NAME, version=ONE, units=NO_UNITS, phases=ARRAY_OF_2_32
    ),
    "annotations": packed(
        format=ONE, checkpoint=NAME, version=ONE, units=NO_UNITS, annotations=MAP_OF_2_32
    ),
    "a name": packed(format=ONE, checkpoint=STRING_OF_2_32),
    "a path": packed(format=ONE, units=b"\x91" + packed(path=STRING_OF_2_32)),
    "digests": packed(format=ONE, units=b"\x91" + packed(block_digests=BYTES_OF_2_32)),
    "after": packed(format=ONE, units=b"\x91" + packed(path=NAME, after=ARRAY_OF_2_32)),
    "facts": packed(format=ONE, units=b"\x91" + packed(path=NAME, facts=MAP_OF_2_32)),
    "itself": ARRAY_OF_2_32,
    "a map": MAP_OF_2_32,
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_a_few_bytes_that_claim_billions_cost_nothing(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifest):
            decode_manifest(data)
        assert tracemalloc.get_traced_memory()[1] < 64 * KIB
    finally:
        tracemalloc.stop()


def test_too_many_units_are_refused_before_they_are_read() -> None:
    count = MANIFEST_UNITS_MAX + 1
    units = b"\xdd" + count.to_bytes(4, "big") + b"\xc0" * count
    data = packed(format=ONE, checkpoint=NAME, version=ONE, units=units)
    with pytest.raises(InvalidManifest, match=f"has {count} units, more than"):
        decode_manifest(data)


@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa1x", b"\x81\x91"])
def test_bytes_nested_very_deeply_are_refused(nest: bytes) -> None:
    for data in (
        nest * 200_000,
        packed(format=ONE, checkpoint=NAME, version=ONE, units=nest * 200_000),
        packed(format=ONE, checkpoint=NAME, version=ONE, units=NO_UNITS, x=nest * 200_000),
    ):
        with pytest.raises(InvalidManifest):
            decode_manifest(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2**64 - 1},
        {"version": 1.5},
        {"version": None},
        {"version": "1"},
        {"version": True},
        {"units": {}},
        {"units": None},
        {"units": "x"},
        {"units": [None]},
        {"checkpoint": b"c"},
        {"phases": "all"},
        {"annotations": {"a": 1}},
        {"annotations": {1: "a"}},
        {"format": "1"},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_refused(fields: dict[str, object]) -> None:
    good = {"format": 1, "checkpoint": "c", "version": 1, "units": []}
    decode_manifest(msgspec.msgpack.encode(good))
    with pytest.raises(InvalidManifest):
        decode_manifest(msgspec.msgpack.encode(good | fields))


@pytest.mark.parametrize("missing", ["format", "checkpoint", "version", "units"])
def test_a_field_that_lacks_is_refused(missing: str) -> None:
    good: dict[str, object] = {"format": 1, "checkpoint": "c", "version": 1, "units": []}
    del good[missing]
    with pytest.raises(InvalidManifest, match=missing):
        decode_manifest(msgspec.msgpack.encode(good))


def test_a_large_manifest_with_too_many_units_costs_no_memory() -> None:
    count = MANIFEST_UNITS_MAX + 1
    head = b"\x82\xa6format\x01\xa5units\xdd" + count.to_bytes(4, "big")
    nothing = b"\xc4\x30" + bytes(48)  # 50 bytes that are no unit
    data = head + nothing * count
    assert 40 * MIB < len(data) < MANIFEST_BYTES_MAX
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifest, match=f"has {count} units, more than"):
            decode_manifest(data)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
