from __future__ import annotations

import itertools

import msgspec
import pytest

from ckptd import limits
from ckptd.errors import ProtocolViolation
from ckptd.model import attributes
from ckptd.model.attributes import (
    Attributes,
    decode_attributes,
    directories_in,
    encode_attributes,
    encoded_bytes_max,
    join_attributes,
    narrowest,
)
from ckptd.model.ids import Digest
from tests.support.manifests import make_manifest

DIGEST = Digest("5a" * 32)
OTHER = Digest("5b" * 32)
MANIFEST = make_manifest({"a/b/one": b"1", "a/two": b"2", "three": b"3"}, critical=["three"])
MODES = (0o600, 0o644, 0o755, 0o2770, 0o755, 0o1777)
TIMES = (1, 2**62, -1, 1_000_000_000_000_000_000, 0, 5)


def document(modes: tuple[int, ...] = MODES, times: tuple[int, ...] = TIMES) -> bytes:
    return encode_attributes(DIGEST, modes, times)


def decoded(modes: tuple[int, ...] = MODES, times: tuple[int, ...] = TIMES) -> Attributes:
    return decode_attributes(document(modes, times), DIGEST, MANIFEST)


def changed(**fields: object) -> bytes:
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(document()), **fields})


def test_what_is_encoded_is_decoded() -> None:
    found = decoded()
    assert found.encoded == document()
    assert found.directories == ("", "a", "a/b") == directories_in(MANIFEST)
    assert found.unit_count == 3
    assert tuple(map(found.mode, range(6))) == MODES
    assert tuple(map(found.mtime_ns, range(6))) == TIMES


def test_a_document_is_these_bytes() -> None:
    small = make_manifest({"unit": b""})
    assert encode_attributes(DIGEST, (0o640, 0o750), (1, -2)) == (
        b"\x84\xa6format\x01\xa8manifest\xc4\x20"
        + b"\x5a" * 32
        + b"\xa5modes\xc4\x04\x01\xa0\x01\xe8"
        b"\xa5times\xc4\x10" + b"\0" * 7 + b"\x01" + b"\xff" * 7 + b"\xfe"
    )
    assert (
        decode_attributes(
            encode_attributes(DIGEST, (0o640, 0o750), (1, -2)), DIGEST, small
        ).mtime_ns(1)
        == -2
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "cannot be decoded"),
        (b"\xc1", "cannot be decoded"),
        (document()[:-1], "cannot be decoded"),
        (document() + b"\0", "cannot be decoded"),
        (changed(owner=0), "cannot be decoded"),
        (changed(format=2), "has format 2"),
        (changed(manifest=bytes(32)), "is of another manifest"),
        (changed(manifest=b""), "is of another manifest"),
        (changed(modes=b""), "does not have one mode"),
        (changed(times=bytes(8 * 5)), "does not have one mode"),
        (changed(times=bytes(8 * 6 + 1)), "does not have one mode"),
        (b"\xdf\xff\xff\xff\xff", "cannot be decoded"),
        (b"\x91" * 5000, "more than one of this manifest may have"),
        (document((0o1644, *MODES[1:])), "has a mode with bits"),
        (document((0o4755, *MODES[1:])), "has a mode with bits"),
        (document((*MODES[:5], 0o4755)), "has a mode with bits"),
        (document((*MODES[:5], 0o100644)), "has a mode with bits"),
    ],
)
def test_whatever_else_comes_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ProtocolViolation, match=problem):
        decode_attributes(data, DIGEST, MANIFEST)


def test_a_document_of_another_manifest_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="is of another manifest"):
        decode_attributes(document(), Digest("00" * 32), MANIFEST)


def test_the_longest_document_is_within_what_is_accepted() -> None:
    assert len(document()) <= encoded_bytes_max(MANIFEST) < len(document()) + 128


def test_a_version_with_too_many_directories_has_no_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attributes, "ATTRIBUTES_BYTES_MAX", 6 * limits.ATTRIBUTES_ENTRY_BYTES)
    assert decoded().unit_count == 3
    monkeypatch.setattr(attributes, "ATTRIBUTES_BYTES_MAX", 5 * limits.ATTRIBUTES_ENTRY_BYTES)
    assert directories_in(MANIFEST) is None
    assert encoded_bytes_max(MANIFEST) == 0
    with pytest.raises(ProtocolViolation, match="more than one of this manifest may have"):
        decode_attributes(document(), DIGEST, MANIFEST)


def with_first(mode: int = 0o600, time_ns: int = 1) -> Attributes:
    return decoded((mode, *MODES[1:]), (time_ns, 2, 3, 4, 5, 6))


@pytest.mark.parametrize(
    ("documents", "chosen"),
    [
        ((with_first(0o600), with_first(0o644)), with_first(0o600)),
        ((with_first(0o600, 99), with_first(0o640, 1)), with_first(0o600, 99)),
        ((with_first(0o600, 99), with_first(0o600, 98)), with_first(0o600, 98)),
        ((with_first(0o600, 1), with_first(0o600, 2)), with_first(0o600, 1)),
        ((with_first(0o640), with_first(0o604)), with_first(0o604)),
    ],
)
def test_of_several_the_narrowest_is_chosen_whoever_comes_first(
    documents: tuple[Attributes, ...], chosen: Attributes
) -> None:
    for order in itertools.permutations(documents):
        found = narrowest(order)
        assert found is not None
        assert found.encoded == chosen.encoded
    assert narrowest(()) is None


def test_what_members_of_a_joined_manifest_have_alike_gets_what_all_of_them_grant() -> None:
    first = make_manifest({"config": b"c", "first/one": b"1"})
    second = make_manifest({"config": b"c", "second/two": b"2"})
    joined = make_manifest({"config": b"c", "first/one": b"1", "second/two": b"2"})
    of_first = decode_attributes(
        encode_attributes(DIGEST, (0o644, 0o640, 0o2775, 0o700), (5, 6, 7, 8)), DIGEST, first
    )
    of_second = decode_attributes(
        encode_attributes(DIGEST, (0o660, 0o755, 0o755, 0o1777), (4, -9, 9, 3)), DIGEST, second
    )
    found = join_attributes(OTHER, joined, [(of_first, [0, 1]), (of_second, [0, 2])])
    assert found.directories == ("", "first", "second")
    assert [found.mode(entry) for entry in range(6)] == [0o640, 0o640, 0o755, 0o755, 0o700, 0o1777]
    assert [found.mtime_ns(entry) for entry in range(6)] == [5, 6, -9, 9, 8, 3]
    again = decode_attributes(found.encoded, OTHER, joined)
    assert [again.mode(entry) for entry in range(6)] == [found.mode(entry) for entry in range(6)]
