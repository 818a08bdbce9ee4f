from __future__ import annotations

from collections.abc import Iterable

from ckptd.model.blocks import BlockSet
from ckptd.store.trees.local_blocks import LocalBlock
from ckptd.store.trees.nearby import Find, Nearby


def asked(log: list[tuple[str, BlockSet]], name: str) -> Find:
    """A way to find blocks that only notes what it was asked for."""

    def find(wanted: BlockSet) -> Iterable[LocalBlock]:
        log.append((name, wanted))
        return ()

    return find


def test_ways_are_tried_in_their_order_and_each_for_what_is_still_missing() -> None:
    log: list[tuple[str, BlockSet]] = []
    nearby, missing = Nearby(), BlockSet([(0, 10)])
    nearby.add(BlockSet([(0, 4)]), asked(log, "first"))
    nearby.add(BlockSet([(2, 8)]), asked(log, "second"))
    nearby.add(BlockSet([(6, 20)]), asked(log, "third"))
    assert nearby.blocks == BlockSet([(0, 20)])
    found = nearby.find(lambda: missing)
    for _ in found:
        missing -= log[-1][1]
    assert log == [
        ("first", BlockSet([(0, 4)])),
        ("second", BlockSet([(4, 8)])),
        ("third", BlockSet([(8, 10)])),
    ]


def test_a_way_that_has_nothing_is_none() -> None:
    nearby = Nearby()
    nearby.add(BlockSet(), asked([], "nothing"))
    assert not nearby.blocks
    assert list(nearby.find(lambda: BlockSet([(0, 1)]))) == []
