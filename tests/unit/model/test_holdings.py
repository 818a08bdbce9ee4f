"""What a node says it has."""

from __future__ import annotations

import pytest

from ckptd.model.blocks import BlockSet
from tests.support.scheduling import blocks, holding, saved


@pytest.mark.parametrize(
    ("held", "is_complete"),
    [
        (BlockSet(), False),
        (blocks((0, 3)), False),
        (blocks((0, 1), (2, 4)), False),
        (blocks((1, 4)), False),
        (blocks((0, 4)), True),
    ],
)
def test_a_holding_is_complete_with_every_block(held: BlockSet, is_complete: bool) -> None:
    assert holding(saved(4), held).is_complete is is_complete


def test_a_version_without_blocks_is_held_completely() -> None:
    assert holding(saved(0), BlockSet()).is_complete
