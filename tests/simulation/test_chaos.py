"""Small clusters in which everything that can go wrong goes wrong, seed by seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import pytest

from ckptd.model.words import Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.chaos import draw_chaos

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
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == [run(seed).digest for seed in range(20)]


def test_another_seed_gives_other_orders() -> None:
    assert run(1).digest != run(2).digest


def test_everything_that_can_go_wrong_goes_wrong_in_some_seed() -> None:
    happened = frozenset[str]().union(*(run(seed).happened for seed in (*range(SEEDS), *RARE)))
    story = "\n".join(happened)
    for ending in ("complete", "failed store", "failed required_missing", "cancelled"):
        assert f"EndRecovery r {ending}".replace("_", "") in story, ending
    for outcome in (
        "busy", "not held", "disconnected", "unreachable", "misbehaved", "closed", "store failed",
    ):  # fmt: skip
        assert f" {outcome} " in story, f"no range ends as {outcome}"
    for event in (
        "ManifestMissed", "StagingRefused", "CommitFailed", "PlacementFailed", "PeerLost",
        "RecoveryPaused", "RecoveryCancelled", "HoldingConfirmed", "gets bad blocks", "loses",
        "ends life", "RecoveryResumed", "RecoveryPromoted",
    ):  # fmt: skip
        assert event in story, event
    for answer in ("stands by it", "stale", "no answer"):
        assert answer in story, f"nobody who is questioned says {answer}"
    for reason in ("silent", "redundant", "stolen", "preempted"):
        assert any(f" {reason}" in line for line in happened if "CloseLane" in line), reason
