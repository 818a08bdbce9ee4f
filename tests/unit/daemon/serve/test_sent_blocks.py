"""What was sent to whom."""

from __future__ import annotations

from ckptd.daemon.serve.sent_blocks import SentBlocks
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest

ONE, OTHER = Digest("01" * 32), Digest("02" * 32)


def test_blocks_are_remembered_by_receiver_and_version() -> None:
    sent = SentBlocks()
    sent.note("node-b", ONE, BlockSet([(0, 4)]))
    sent.note("node-b", ONE, BlockSet([(8, 9)]))
    asked = BlockSet([(3, 9)])
    assert sent.among("node-b", ONE, asked) == BlockSet([(3, 4), (8, 9)])
    assert sent.among("node-b", OTHER, asked) == BlockSet()
    assert sent.among("node-c", ONE, asked) == BlockSet()


def test_of_too_many_the_one_used_longest_ago_is_forgotten() -> None:
    sent, blocks = SentBlocks(), BlockSet.single(0)
    for index in range(512):
        sent.note(f"node-{index}", ONE, blocks)
    sent.note("node-0", ONE, blocks)
    sent.note("one more", ONE, blocks)
    assert sent.among("node-1", ONE, blocks) == BlockSet()
    for receiver in ("node-0", "node-2", "one more"):
        assert sent.among(receiver, ONE, blocks) == blocks
