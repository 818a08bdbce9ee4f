"""Blocks that receivers say were bad."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from ckptd.daemon.serve.block_questions import BlockQuestions
from ckptd.errors import StorageError
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.store.published.pieces import StoredPiece
from tests.support.manifests import make_manifest

DIGEST = Digest("01" * 32)
ALL = BlockSet.full(3)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def questions(clock: Clock) -> BlockQuestions:
    return BlockQuestions(clock)


class Version:
    """A version of three blocks in memory, of which bytes can be changed."""

    def __init__(self) -> None:
        contents = {"a": b"1" * 300_000, "b": b"22"}
        self.space = AddressSpace(make_manifest(contents))
        self.content = bytearray(b"".join(contents[u.path] for u in self.space.manifest.units))
        self.read_count = 0

    def pieces(self, start: int, end: int) -> Generator[StoredPiece, None, None]:
        self.read_count += 1
        yield StoredPiece(-1, 0, end - start, memoryview(self.content)[start:end])

    def rot(self, block: int) -> None:
        self.content[self.space.block_start(block)] ^= 0x40


@pytest.fixture
def version() -> Version:
    return Version()


async def test_a_block_that_rotted_is_found_and_the_others_are_right(
    questions: BlockQuestions, version: Version
) -> None:
    assert await questions.wrong_among(DIGEST, version, ALL) == BlockSet()
    questions = BlockQuestions(lambda: 0.0)
    version.rot(1)
    assert await questions.wrong_among(DIGEST, version, ALL) == BlockSet.single(1)
    assert (questions.questioned_count, questions.rotten_count) == (3, 1)


async def test_a_block_is_read_once_a_minute_however_often_it_is_asked_about(
    questions: BlockQuestions, version: Version, clock: Clock
) -> None:
    asked, read = BlockSet.single(0), list[int]()
    questions.note_read = read.append
    assert not await questions.wrong_among(DIGEST, version, asked)
    version.rot(0)
    clock.now_s += 59.9
    assert not await questions.wrong_among(DIGEST, version, asked)
    clock.now_s += 0.1
    assert await questions.wrong_among(DIGEST, version, asked) == asked
    assert await questions.wrong_among(DIGEST, version, asked) == asked
    assert questions.rotten_count == 1
    assert read == [version.space.block_size(0)] * 2


async def test_another_copy_is_read_at_once(questions: BlockQuestions, version: Version) -> None:
    asked = BlockSet.single(0)
    version.rot(0)
    assert await questions.wrong_among(DIGEST, version, asked) == asked
    version.rot(0)  # the same bit: it is right again
    assert await questions.is_right_elsewhere(DIGEST, version, asked)


async def test_too_many_that_ask_at_once_are_not_answered(
    questions: BlockQuestions, version: Version
) -> None:
    async def ask() -> BlockSet:
        return await questions.wrong_among(DIGEST, version, BlockSet.single(0))

    await questions._reading.acquire()
    asking = [asyncio.ensure_future(ask()) for _ in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="too many"):
        await ask()
    questions._reading.release()
    assert await asyncio.gather(*asking) == [BlockSet()] * 64
