"""How blocks are coded for a receiver, and what of that is there for another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import NO_BASE, CodedHead, read_head
from ckptd.errors import ContentChanged
from ckptd.model.formats.element_types import ELEMENTS_FACT
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.coded_bases import DECODED
from ckptd.net.source.coded_blocks import CodedBlocks, CodedVersion
from ckptd.net.source.shared_coding import SharedCoding
from ckptd.net.source.shared_coding_time import SharedCodingTime
from ckptd.net.source.unit_fits import AGAIN_BLOCKS
from tests.support.serving import FileContent
from tests.support.weights import weights
from tests.unit.net.lane.test_coded_bodies import BLOCK_BYTES, MemoryBase

COUNT = AGAIN_BLOCKS + 2


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileContent, FileContent]:
    make = tmp_path_factory.mktemp
    return _version(make("now"), 1), _version(make("old"), 2)


def _version(directory: Path, seed: int) -> FileContent:
    return FileContent(directory, {"a": weights(seed, COUNT * BLOCK_BYTES)})


class Receiver:
    """Gets all blocks of a version coded.

    Attributes:
        heads: What is said of each block; ``None`` of those that go as they are.
        reads: Which blocks were read for it.
        decoded: What it makes of them, of those that are coded.
    """

    def __init__(
        self,
        content: FileContent,
        bases: Sequence[MemoryBase | None],
        shared: SharedCoding,
        coders: frozenset[Coder] = DECODED,
        space: AddressSpace | None = None,
    ) -> None:
        self.heads: list[CodedHead | None] = []
        self.reads: list[int] = []
        self.decoded = bytearray(content.data)
        self._content = content
        space, coding = space or content.space, BlockCoding()
        blocks = CodedBlocks(CodedVersion(content.digest, space, coders, bases), shared)
        for place in space.places((0, space.block_count)):
            coded = blocks.coded(place, self._read)
            if coded is None:
                self.heads.append(None)
                continue
            head = read_head(coded[0], place.size_bytes, len(bases))
            behind = b"".join(coded[1:])
            assert head.coded_bytes == len(behind)
            self.heads.append(head)
            start = space.block_start(place.block)
            base = bases[head.base] if head.coder.needs_base else None
            was = b"" if base is None else base.data[start : start + place.size_bytes]
            into = memoryview(self.decoded)[start : start + place.size_bytes]
            into[:] = bytes(place.size_bytes)
            coding.decode(head, behind, was, into)

    def _read(self, place: BlockPlace) -> memoryview:
        self.reads.append(place.block)
        start = self._content.space.block_start(place.block)
        return memoryview(self._content.data)[start : start + place.size_bytes]

    @property
    def kinds(self) -> set[tuple[Coder, int, int] | None]:
        """Coder, width and base of the blocks."""
        return {
            None if head is None else (head.coder, head.width, head.base) for head in self.heads
        }


def plenty() -> SharedCoding:
    return SharedCoding(1000.0)


def test_the_first_base_that_is_here_is_used_and_named_by_its_place(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    base = MemoryBase(old)
    receiver = Receiver(now, [None, base], plenty())
    assert receiver.kinds == {(Coder.SPARSE, 2, 1)}
    assert base.reads == list(range(now.space.block_count)), "each block of the base is read once"


def test_a_base_that_fails_is_left_out(versions: tuple[FileContent, FileContent]) -> None:
    now, old = versions
    base = MemoryBase(old)
    base.is_here = False
    receiver = Receiver(now, [base], plenty())
    assert {head.base for head in receiver.heads if head} == {NO_BASE}
    assert receiver.heads[0] is None, "it goes as it is"
    assert base.reads == [0], "and is not asked again for the rest of the file"


def test_without_time_blocks_go_as_they_are_and_are_not_even_read(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    receiver = Receiver(now, [MemoryBase(old)], SharedCoding(0.0))
    assert (receiver.kinds, receiver.reads) == ({None}, [])


def test_what_does_not_get_shorter_is_found_out_once_in_a_while(tmp_path: Path) -> None:
    noise = FileContent(tmp_path, {"a": os.urandom(COUNT * BLOCK_BYTES)})
    receiver = Receiver(noise, [], plenty())
    assert (receiver.kinds, receiver.reads) == ({None}, [0, AGAIN_BLOCKS])


def test_blocks_of_zeros_say_nothing_of_those_behind_them(tmp_path: Path) -> None:
    zeros = bytes(4 * BLOCK_BYTES)
    content = [zeros + weights(seed, COUNT * BLOCK_BYTES - len(zeros)) for seed in (1, 2)]
    now, old = (FileContent(tmp_path, {"a": each}) for each in content)
    receiver = Receiver(now, [MemoryBase(old)], plenty())
    assert receiver.decoded == now.data
    behind = {(head.coder, head.width) for head in receiver.heads[4:] if head}
    assert behind == {(Coder.SPARSE, 2)}


def test_what_was_coded_for_one_goes_to_another_without_reading_anything(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    shared, base = plenty(), MemoryBase(old)
    first = Receiver(now, [base], shared)
    base.reads.clear()
    second = Receiver(now, [None, base], shared)
    assert (second.reads, base.reads) == ([], [])
    assert (first.kinds, second.kinds) == ({(Coder.SPARSE, 2, 0)}, {(Coder.SPARSE, 2, 1)})
    assert first.decoded == second.decoded == now.data
    assert (shared.forms.made, shared.forms.shared) == (COUNT, COUNT)


def test_what_was_coded_goes_out_when_no_time_is_left_to_code(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    shared = plenty()
    Receiver(now, [MemoryBase(old)], shared)
    shared.time = SharedCodingTime(0.0)
    assert Receiver(now, [MemoryBase(old)], shared).kinds == {(Coder.SPARSE, 2, 0)}


@pytest.mark.parametrize("what", ["no base", "another base", "other coders"])
def test_who_has_something_else_gets_blocks_of_his_own(
    what: str, versions: tuple[FileContent, FileContent], tmp_path: Path
) -> None:
    now, old = versions
    shared = plenty()
    Receiver(now, [MemoryBase(old)], shared)
    older = _version(tmp_path, 3)
    bases = {"no base": [], "another base": [MemoryBase(older)]}.get(what, [MemoryBase(old)])
    coders = frozenset({Coder.DELTA, Coder.ZSTD}) if what == "other coders" else DECODED
    receiver = Receiver(now, bases, shared, coders)
    assert receiver.reads == list(range(COUNT))
    assert receiver.decoded == now.data
    assert {head.coder for head in receiver.heads if head} <= coders


def test_what_is_made_without_the_base_that_was_lost_is_nobodys_who_has_it(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    shared, lost = plenty(), MemoryBase(old)
    lost.is_here = False
    Receiver(now, [lost], shared)
    assert Receiver(now, [MemoryBase(old)], shared).kinds == {(Coder.SPARSE, 2, 0)}


def test_a_block_that_cannot_be_read_may_be_tried_again(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    shared = plenty()
    version = CodedVersion(now.digest, now.space, DECODED, [MemoryBase(old)])
    blocks = CodedBlocks(version, shared)
    place = next(now.space.places((0, 1)))

    def fail(_: BlockPlace) -> memoryview:
        raise ContentChanged("version", "a file of it cannot be read")

    with pytest.raises(ContentChanged):
        blocks.coded(place, fail)
    assert Receiver(now, [MemoryBase(old)], shared).kinds == {(Coder.SPARSE, 2, 0)}


def test_the_width_that_a_publisher_says_is_taken_where_it_says_so(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    said = {ELEMENTS_FACT: f"BF16 F32@{3 * BLOCK_BYTES} -@{5 * BLOCK_BYTES}"}
    (unit,) = now.space.manifest.units
    unit = msgspec.structs.replace(unit, facts=said)
    space = AddressSpace(msgspec.structs.replace(now.space.manifest, units=(unit,)))
    receiver = Receiver(now, [MemoryBase(old)], plenty(), space=space)
    widths = [head.width for head in receiver.heads if head]
    assert widths[:5] == [2, 2, 2, 4, 4]
    assert set(widths[5:]) == {2}, "what is not said is tried"
    assert receiver.decoded == now.data
