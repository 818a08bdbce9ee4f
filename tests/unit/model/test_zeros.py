from __future__ import annotations

from random import Random

import pytest
from blake3 import blake3

from ckptd.limits import KIB
from ckptd.model import zeros
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.zeros import bytes_by_unit, data_stretches, zero_blocks
from tests.support.manifests import make_manifest

GRAIN = 256 * KIB
DATA = bytes(range(256)) * KIB


def digest_of_zeros(size_bytes: int) -> bytes:
    return blake3(bytes(size_bytes)).digest()


def found_in(**contents: bytes) -> BlockSet:
    return zero_blocks(AddressSpace(make_manifest(contents)), digest_of_zeros)


@pytest.mark.parametrize(
    ("content", "runs"),
    [
        (bytes(4 * GRAIN), [(0, 4)]),
        (DATA + bytes(2 * GRAIN) + DATA, [(1, 3)]),
        (bytes(GRAIN) + DATA + bytes(GRAIN), [(0, 1), (2, 3)]),
        (bytes(2 * GRAIN + 1), [(0, 3)]),
        (DATA + bytes(GRAIN + 1), [(1, 3)]),
        (bytes(2 * GRAIN) + b"x", [(0, 2)]),
        (DATA + bytes(1), []),  # a short one behind data comes with it
        (DATA * 3, []),
        (bytes(GRAIN), []),  # of one block
        (bytes(7), []),
        (b"", []),
    ],
)
def test_blocks_of_zeros_are_found(content: bytes, runs: list[tuple[int, int]]) -> None:
    assert found_in(a=content) == BlockSet(runs)


def test_they_are_found_in_every_unit() -> None:
    found = found_in(a=DATA + bytes(GRAIN), b=b"", c=bytes(GRAIN), d=bytes(3 * GRAIN))
    assert found == BlockSet([(1, 2), (3, 6)])


@pytest.mark.parametrize("seed", range(20))
def test_they_are_those_whose_bytes_are_zeros(seed: int) -> None:
    random = Random(seed)
    contents = {
        str(unit): b"".join(
            random.choice((DATA, bytes(GRAIN))) for _ in range(random.randint(2, 9))
        )
        for unit in range(4)
    }
    blocks = [
        content[at : at + GRAIN]
        for content in contents.values()
        for at in range(0, len(content), GRAIN)
    ]
    expected = {block for block, content in enumerate(blocks) if not any(content)}
    assert set(found_in(**contents)) == expected


def test_tails_of_many_lengths_are_not_all_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeros, "TAIL_LENGTHS_MAX", 2)
    contents = {str(tail): bytes(GRAIN + tail) for tail in (1, 2, 3, 4)}
    asked: list[int] = []

    def count(size_bytes: int) -> bytes:
        asked.append(size_bytes)
        return digest_of_zeros(size_bytes)

    space = AddressSpace(make_manifest(contents))
    assert zero_blocks(space, count) == BlockSet([(0, 5), (6, 7)])
    assert sorted(asked) == [1, 2, GRAIN]


def test_a_digest_between_two_digests_is_none() -> None:
    space = AddressSpace(make_manifest({"a": DATA + bytes(GRAIN)}))
    digests = bytes(space.manifest.units[0].block_digests)
    assert zero_blocks(space, lambda size_bytes: digests[5:37]) == BlockSet()


def test_bytes_are_summed_for_each_unit() -> None:
    contents = {"a": bytes(2 * GRAIN), "b": DATA * 2, "c": DATA + bytes(GRAIN + 5)}
    space = AddressSpace(make_manifest(contents))
    found = zero_blocks(space, digest_of_zeros)
    assert bytes_by_unit(space, found) == {0: 2 * GRAIN, 2: GRAIN + 5}
    assert bytes_by_unit(space, BlockSet()) == {}


def test_what_lies_between_zeros_is_data() -> None:
    content = DATA + bytes(2 * GRAIN) + DATA * 2 + b"x"
    space = AddressSpace(make_manifest({"a": DATA * 2, "b": content, "c": bytes(2 * GRAIN)}))
    found = zero_blocks(space, digest_of_zeros)
    assert list(data_stretches(space, 0, found)) == [(0, 2 * GRAIN)]
    assert list(data_stretches(space, 1, found)) == [(0, GRAIN), (3 * GRAIN, 2 * GRAIN + 1)]
    assert list(data_stretches(space, 2, found)) == []
