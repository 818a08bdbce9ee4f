"""A manifest that many peers ask for is in memory once; the longest of many versions are not."""

from __future__ import annotations

import asyncio
import random

import pytest
import zstandard

from ckptd.daemon.serve import lent_manifests
from ckptd.daemon.serve.lent_manifests import LENT_BYTES_MAX, SHORT_BYTES_MAX, LentManifests
from ckptd.errors import NotFound, Shortage
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.ids import Digest
from ckptd.net.content_coding import compressed

HERE = {Digest(f"{number:064x}"): bytes(MANIFEST_BYTES_MAX) for number in range(3)}
SHORT = Digest("f" * 64)


class Shelf:
    def __init__(self) -> None:
        self.loads = 0
        self.lent = LentManifests(self.load)

    async def load(self, digest: Digest) -> bytes:
        self.loads += 1
        await asyncio.sleep(0)
        if digest == SHORT:
            return bytes(SHORT_BYTES_MAX)
        if digest not in HERE:
            raise NotFound("manifest", "is not here")
        return HERE[digest]


async def test_all_who_ask_for_a_manifest_get_the_same_bytes() -> None:
    shelf = Shelf()
    digest = next(iter(HERE))
    views = [await shelf.lent.get(digest) for _ in range(2)]
    views += await asyncio.gather(*(shelf.lent.get(digest) for _ in range(50)))
    assert len({id(view) for view in views}) == 1
    assert (shelf.loads, shelf.lent.lent_bytes) == (1, MANIFEST_BYTES_MAX)
    del views
    await asyncio.sleep(0)  # what was gathered is let go of
    assert shelf.lent.lent_bytes == 0
    await shelf.lent.get(digest)
    assert shelf.loads == 2


async def test_a_long_one_waits_while_others_are_on_their_way_and_a_short_one_does_not() -> None:
    shelf = Shelf()
    first, second, third = HERE
    views = [await shelf.lent.get(digest) for digest in (first, second)]
    assert shelf.lent.lent_bytes == LENT_BYTES_MAX
    with pytest.raises(Shortage, match="on their way"):
        await shelf.lent.get(third)
    assert await shelf.lent.get(first) is views[0]
    assert len(await shelf.lent.get(SHORT)) == SHORT_BYTES_MAX
    views.pop()
    assert len(await shelf.lent.get(third)) == MANIFEST_BYTES_MAX


async def test_what_cannot_be_read_is_not_lent() -> None:
    shelf = Shelf()
    with pytest.raises(NotFound):
        await shelf.lent.get(Digest("e" * 64))
    assert shelf.lent.lent_bytes == 0


async def test_one_in_zstd_is_compressed_once_and_counts_as_long_as_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf()
    seen: list[int] = []

    async def note(body: memoryview) -> bytes | None:
        seen.append(len(body))
        return compressed(body)

    monkeypatch.setattr(lent_manifests, "compressed_off_loop", note)
    digest = next(iter(HERE))
    first = await shelf.lent.coded(digest)
    assert first.is_coded
    assert zstandard.decompress(first.body) == HERE[digest]
    assert shelf.lent.lent_bytes == len(first.body)  # the long form is in memory no more
    others = await asyncio.gather(*(shelf.lent.coded(digest) for _ in range(50)))
    assert {id(each.body) for each in others} == {id(first.body)}
    assert (shelf.loads, seen) == (1, [MANIFEST_BYTES_MAX])
    plain = await shelf.lent.get(digest)
    assert shelf.lent.lent_bytes == len(first.body) + len(plain)
    del first, others, plain
    await asyncio.sleep(0)
    assert shelf.lent.lent_bytes == 0


async def test_one_that_zstd_does_not_shorten_is_lent_as_it_is_and_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = random.Random(1).randbytes(MIB)
    tried: list[int] = []

    async def load(_: Digest) -> bytes:
        return digests

    async def note(body: memoryview) -> bytes | None:
        tried.append(len(body))
        return compressed(body)

    monkeypatch.setattr(lent_manifests, "compressed_off_loop", note)
    monkeypatch.setattr(lent_manifests, "_REMEMBERED_MAX", 2)
    lent = LentManifests(load)
    for _ in range(3):
        assert await lent.coded(SHORT) == (digests, False)
    assert tried == [MIB]
    for digest in HERE:
        await lent.coded(digest)
    assert len(lent._never_shorter) == 2


async def test_without_room_for_both_forms_the_long_one_that_is_there_is_lent() -> None:
    half = random.Random(1).randbytes(MANIFEST_BYTES_MAX // 2)

    async def load(digest: Digest) -> bytes:
        return HERE[digest] if digest in HERE else half + bytes(MANIFEST_BYTES_MAX // 2)

    lent = LentManifests(load)
    held = [await lent.get(digest) for digest in (SHORT, next(iter(HERE)))]
    assert lent.lent_bytes == LENT_BYTES_MAX
    assert await lent.coded(SHORT) == (held[0], False)
    held.pop()
    assert (await lent.coded(SHORT)).is_coded
    with pytest.raises(NotFound):
        await Shelf().lent.coded(Digest("e" * 64))
