"""A block of a base is given out only if it is what was published."""

from __future__ import annotations

from ckptd.buffers import page_buffer
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.published.serving import ServedVersion
from tests.support.stores import SERVED_CONTENTS

WHOLE = b"".join(SERVED_CONTENTS.values())


def test_each_block_is_read(served: ServedVersion) -> None:
    base = BaseBlocks(served)
    assert (base.digest, base.space) == (served.digest, served.space)
    for place in base.space.places((0, base.space.block_count)):
        into = page_buffer(place.size_bytes)
        assert base.read(place, into)
        start = base.space.block_start(place.block)
        assert bytes(into) == WHOLE[start : start + place.size_bytes]
    assert not base.is_lost
