"""What a version consists of."""

from __future__ import annotations

from ckptd.core.state.record.described import Described
from ckptd.model.blocks import BlockRun
from tests.support.scheduling import blocks, saved

VERSION = saved(4, critical=[2], deferred=[3], optional=[2])


def described() -> Described:
    return Described.of(VERSION.version, VERSION.digest, VERSION.space)


def test_it_knows_what_is_critical() -> None:
    assert described().critical == blocks((0, 2))
    assert described().optional == blocks((9, 11))
    assert (described().version, described().digest) == (VERSION.version, VERSION.digest)


def test_the_class_of_a_block_is_the_run_that_is_as_urgent() -> None:
    runs = [BlockRun(0, 2)] * 2 + [BlockRun(2, 6)] * 4 + [BlockRun(6, 11)] * 5
    assert [described().class_of(block) for block in range(11)] == runs
