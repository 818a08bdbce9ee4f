"""Small clusters in which everything that can go wrong goes wrong, seed by seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pytest

from ckptd.model.words import Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.chaos import draw_chaos
from tests.support.simulation import printed

SEEDS = 200
RARE = (543,)
"""Patience that ends while required units are missing."""


@dataclass(frozen=True)
class Run:
    """What came of a seed.

    Attributes:
        digest: Of its story.
        happened: Events and orders of its story, without numbers.
        open_count: Wishes that no recovery fulfilled.
    """

    digest: str
    happened: frozenset[str]
    open_count: int


@cache
def run(seed: int) -> Run:
    cluster = Cluster(draw_chaos(seed), keeps_story=True)
    report = cluster.run()
    complete = [each for each in report.recoveries if each.result is Result.COMPLETE]
    for each in complete:
        account = cluster.books.nodes[each.node].recoveries[each.recovery]
        missing = account.known_version().blocks - account.committed
        assert missing.issubset(account.known_version().optional)
        assert each.missing_blocks == len(missing)
    lines = (line.split(maxsplit=2)[2] for line in cluster.chronicle.lines)
    happened = frozenset(re.sub(r"[^a-zA-Z ]", "", line) for line in lines)
    return Run(report.digest, happened, len(cluster.scenario.wishes) - len(complete))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_recovery_completes_once_nothing_goes_wrong_any_more(seed: int) -> None:
    assert run(seed).open_count == 0, f"replay with: make sim PROFILE=chaos SEED={seed}"


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_gives_the_same_orders_in_every_process(hash_seed: str) -> None:
    script = (
        "from tests.simulation.test_chaos import run;"
        "print(*(run(seed).digest for seed in range(20)))"
    )
    assert printed(script, hash_seed=hash_seed).split() == [run(seed).digest for seed in range(20)]


def test_another_seed_gives_other_orders() -> None:
    assert run(1).digest != run(2).digest


def what_can_go_wrong() -> dict[str, re.Pattern[str]]:
    """Return what has to happen, and how a line of a story says so."""
    endings = ("complete", "failed store", "failed required_missing", "cancelled")
    outcomes = (
        "busy", "not held", "disconnected", "unreachable", "misbehaved", "closed", "store failed",
    )  # fmt: skip
    events = (
        "ManifestMissed", "StagingRefused", "CommitFailed", "PlacementFailed", "PeerLost",
        "RecoveryPaused", "RecoveryCancelled", "HoldingConfirmed", "gets bad blocks", "loses",
        "ends life", "RecoveryResumed", "RecoveryPromoted",
        "stands by it", "stale", "no answer",  # who is questioned
    )  # fmt: skip
    reasons = ("silent", "redundant", "stolen", "preempted")
    said = {
        **{f"ends {each}": f"EndRecovery r {each}".replace("_", "") for each in endings},
        **{f"a range ends as {each}": f" {each} " for each in outcomes},
        **{each: each for each in events},
        **{f"a lane is closed: {each}": f"CloseLane.* {each}" for each in reasons},
    }
    return {what: re.compile(pattern) for what, pattern in said.items()}


def test_everything_that_can_go_wrong_goes_wrong_in_some_seed() -> None:
    lacking = what_can_go_wrong()
    for seed in (*RARE, *range(SEEDS)):
        story = "\n".join(run(seed).happened) + "\n"
        lacking = {what: line for what, line in lacking.items() if not line.search(story)}
        if not lacking:
            break
    assert not lacking
