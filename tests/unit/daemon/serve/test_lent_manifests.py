"""A manifest that many peers ask for is in memory once; the longest of many versions are not."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.daemon.serve.lent_manifests import LENT_BYTES_MAX, SHORT_BYTES_MAX, LentManifests
from ckptd.errors import NotFound, Shortage
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import Digest

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
