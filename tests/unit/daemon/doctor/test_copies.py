"""What is said of versions with too few copies."""

from __future__ import annotations

from ckptd.daemon.doctor.copies import ScarceVersion, look_at_copies
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import CheckResult


def scarce(version: int, copies: int, *, is_here: bool = True) -> ScarceVersion:
    held = Holding(CheckpointName("llama"), Version(version), Digest("aa"), 4, 4, BlockSet())
    return ScarceVersion(held, copies, is_here)


async def findings(*found: ScarceVersion) -> list[tuple[str, CheckResult, str]]:
    rows = look_at_copies(lambda: found)
    return [(row.subject, row.verdict, row.finding) async for row in rows]


async def test_what_is_listed_is_not_said_to_be_on_two_nodes() -> None:
    (row,) = [row async for row in look_at_copies(tuple, are_some_listed=True)]
    assert row.finding.endswith("on two live nodes at least, but for what [copies] lists")


async def test_enough_copies_ask_for_nothing() -> None:
    assert await findings() == [
        (
            "newest versions",
            CheckResult.OK,
            "each that is or was here is on two live nodes at least",
        )
    ]


async def test_the_rarest_are_named_first_and_a_loss_is_a_fault() -> None:
    assert await findings(scarce(3, 1), scarce(1, 0), scarce(2, 0, is_here=False)) == [
        (
            "llama@1",
            CheckResult.FAIL,
            "is whole on no node that answers: files changed or are gone here",
        ),
        (
            "llama@2",
            CheckResult.FAIL,
            "is whole on no node that answers: it was here, and is gone",
        ),
        (
            "llama@3",
            CheckResult.WARN,
            "is whole only once on the nodes that answer: lose that one, and it is lost",
        ),
    ]


async def test_of_many_ten_are_named() -> None:
    assert len(await findings(*(scarce(index, 1) for index in range(10)))) == 10
    *_, last = await findings(*(scarce(index, 1) for index in range(12)))
    assert last[0] == "2 more versions"
