"""A block of a base is given out only if it is what was published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.model.blocks import BlockRun
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.published.serving import ServedVersion
from tests.support.manifests import make_manifest
from tests.support.stores import (
    SERVED_CONTENTS,
    change_served,
    open_descriptors,
    rot,
    served_from,
)

WHOLE = b"".join(SERVED_CONTENTS.values())


def reads(base: BaseBlocks) -> Iterator[bool]:
    """Read each block; what is read is right."""
    for place in base.space.places((0, base.space.block_count)):
        into = page_buffer(place.size_bytes)
        is_read = base.read(place, into)
        start = base.space.block_start(place.block)
        assert not is_read or bytes(into) == WHOLE[start : start + place.size_bytes]
        yield is_read


def unseen_reads(base: BaseBlocks, *, is_looked_at: bool = False) -> Iterator[bytes | None]:
    """Read each block one after another; whether it is right is not looked at."""
    with base.reading() as reading:
        read = reading.read_right if is_looked_at else reading.read
        for place in base.space.places((0, base.space.block_count)):
            into = page_buffer(place.size_bytes)
            yield bytes(into) if read(place, into) else None


def served_runs(base: BaseBlocks, space: AddressSpace) -> list[bool]:
    """Return of each unit with blocks of another version whether there is a base for it."""
    units = range(len(space.manifest.units))
    runs = [
        BlockRun(*space.unit_run(unit)) for unit in units if space.manifest.units[unit].size_bytes
    ]
    return [base.serves(space, run) for run in runs]


@pytest.fixture
def newer() -> AddressSpace:
    """A later version, to which a file was added."""
    contents = {path: content[::-1] for path, content in SERVED_CONTENTS.items()}
    return AddressSpace(make_manifest({"0": b"new"} | contents))


def test_each_block_is_read(served: ServedVersion, newer: AddressSpace) -> None:
    base = BaseBlocks(served)
    assert (base.digest, base.space) == (served.digest, served.space)
    assert all(reads(base))
    assert all(served_runs(base, newer))


def test_a_unit_that_is_not_here_is_no_base_and_the_others_are(
    root: Root, hashed: HashedDirectory, newer: AddressSpace
) -> None:
    files = tuple(None if index == 2 else file for index, file in enumerate(hashed.files))
    base = BaseBlocks(served_from(root, replace(hashed, files=UnitFiles(files))))
    for _ in range(2):
        assert list(reads(base)) == [True, True, False, True]
        assert served_runs(base, newer) == [True, True, False, True]
        assert not base.serves(newer, BlockRun(0, newer.block_count))


def test_a_unit_that_rotted_is_no_base_any_more_and_the_others_are(
    root: Root, hashed: HashedDirectory, newer: AddressSpace
) -> None:
    base = BaseBlocks(served_from(root, rot(root, hashed, 0, offset=270_000)))
    assert all(served_runs(base, newer)), "nobody knows yet"
    assert list(reads(base)) == [True, False, True, True]
    assert list(reads(base)) == [False, False, True, True]
    assert served_runs(base, newer) == [True, False, True, True]


def test_who_finds_out_himself_reads_blocks_as_they_are(
    root: Root, hashed: HashedDirectory, newer: AddressSpace
) -> None:
    base = BaseBlocks(served_from(root, rot(root, hashed, 0, offset=270_000)))
    before = open_descriptors()
    first, rotten, *others = (each or b"" for each in unseen_reads(base))
    assert open_descriptors() == before
    assert first == WHOLE[:262_144]
    assert [x ^ y for x, y in zip(rotten, WHOLE[262_144:300_000], strict=True) if x != y] == [0x40]
    assert b"".join(others) == WHOLE[300_000:]
    assert all(served_runs(base, newer)), "nobody looked yet"
    assert list(reads(base)) == [True, False, True, True]
    assert [each is None for each in unseen_reads(base)] == [True, True, False, False]


def test_a_unit_that_changes_while_it_is_read_is_no_base_any_more(
    served: ServedVersion, inside: Path
) -> None:
    base = BaseBlocks(served)
    found = unseen_reads(base)
    assert next(found)
    change_served(inside, "overwrite")
    assert [each is None for each in found] == [True, False, False]


def test_who_codes_gets_what_is_right_and_its_unit_is_lost_otherwise(
    root: Root, hashed: HashedDirectory, newer: AddressSpace
) -> None:
    base = BaseBlocks(served_from(root, rot(root, hashed, 0, offset=270_000)))
    before = open_descriptors()
    first, rotten, *others = unseen_reads(base, is_looked_at=True)
    assert open_descriptors() == before
    assert (first, rotten) == (WHOLE[:262_144], None)
    assert b"".join(each or b"" for each in others) == WHOLE[300_000:]
    assert served_runs(base, newer) == [True, False, True, True]
