"""How blocks are coded for a receiver: what was found for a unit counts for some blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.coding.coded_block import HEAD_BYTES, NO_BASE, CodedHead, read_head
from ckptd.model.words import Coder
from ckptd.net.coded_bases import DECODED
from ckptd.net.source.coded_blocks import AGAIN_BLOCKS, CodedBlocks
from ckptd.net.source.shared_coding_time import SharedCodingTime
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


def heads(content: FileContent, bases: list[MemoryBase | None], cores: float) -> list[CodedHead]:
    blocks = CodedBlocks(content.space, bases, DECODED, SharedCodingTime(cores))
    found = []
    for place in content.space.places((0, content.space.block_count)):
        start = content.space.block_start(place.block)
        block = memoryview(content.data)[start : start + place.size_bytes]
        coded = blocks.coded(place, block)
        found.append(read_head(coded[:HEAD_BYTES], place.size_bytes, len(bases)))
    return found


def test_the_first_base_that_is_here_is_used_and_named_by_its_place(
    versions: tuple[FileContent, FileContent],
) -> None:
    now, old = versions
    base = MemoryBase(old)
    found = heads(now, [None, base], 1000.0)
    assert {(head.coder, head.width, head.base) for head in found} == {(Coder.SPARSE, 2, 1)}
    assert base.reads == list(range(now.space.block_count)), "each block of the base is read once"


def test_a_base_that_fails_is_left_out(versions: tuple[FileContent, FileContent]) -> None:
    now, old = versions
    base = MemoryBase(old)
    base.is_here = False
    assert {head.base for head in heads(now, [base], 1000.0)} == {NO_BASE}


def test_without_time_blocks_go_as_they_are(versions: tuple[FileContent, FileContent]) -> None:
    now, old = versions
    assert {head.coder for head in heads(now, [MemoryBase(old)], 0.0)} == {Coder.PLAIN}
