from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from ckptd.daemon.measure.freshness import Freshness
from ckptd.limits import CHECKPOINTS_WATCHED_MAX, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version


def holding(checkpoint: str, version: int, *, is_whole: bool = True) -> Holding:
    name = CheckpointName(checkpoint)
    blocks = BlockSet.full(2 if is_whole else 1)
    return Holding(name, Version(version), Digest("ab" * 32), 1, 2, blocks)


class Scene:
    """A node, one peer, and a clock."""

    def __init__(self) -> None:
        self.held: list[Holding] = []
        self.of_peer: list[Holding] = []
        self.now_s = 1000.0
        self.ahead_s = 1_700_000_000.0
        self.boot = "a"
        self.freshness = Freshness(
            held=lambda: self.held,
            of_peers=lambda: [self.of_peer],
            now=lambda: int(self.now_s * SECOND),
            boot=self.boot,
            wall_clock=lambda: self.now_s + self.ahead_s,
        )

    def after(self, seconds: float) -> Mapping[str, float]:
        self.now_s += seconds
        self.freshness.look()
        return self.freshness.seen().ages_s

    def restart(self) -> None:
        """Begin another life of the daemon, which finds what this one wrote."""
        known = dict(self.freshness.known())
        self.freshness = Freshness(
            held=lambda: self.held,
            of_peers=lambda: [self.of_peer],
            now=lambda: int(self.now_s * SECOND),
            boot=self.boot,
            wall_clock=lambda: self.now_s + self.ahead_s,
        )
        self.freshness.take_over(known)


def test_without_a_checkpoint_there_is_no_age() -> None:
    scene = Scene()
    scene.of_peer = [holding("theirs", 1)]
    assert scene.after(5) == {}


def test_the_age_counts_from_the_moment_at_which_a_version_was_first_seen() -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    assert scene.after(60) == {"freshest": 60.0, "stalest": 60.0}


@pytest.mark.parametrize(
    "hear",
    [
        lambda scene: scene.held.append(holding("a", 101)),
        lambda scene: scene.of_peer.append(holding("a", 101)),
    ],
    ids=["here", "from a peer"],
)
def test_a_newer_version_makes_a_checkpoint_fresh(hear: Callable[[Scene], None]) -> None:
    scene = Scene()
    scene.held = [holding("a", 100), holding("b", 7)]
    scene.after(0)
    scene.now_s += 60
    hear(scene)
    assert scene.after(0) == {"freshest": 0.0, "stalest": 60.0}


def test_neither_an_older_version_nor_the_loss_of_the_newest_does() -> None:
    scene = Scene()
    scene.held, scene.of_peer = [holding("a", 100)], [holding("a", 200)]
    scene.after(0)
    scene.of_peer = [holding("a", 150)]
    assert scene.after(60) == {"freshest": 60.0, "stalest": 60.0}


def test_what_is_not_held_any_more_does_not_count() -> None:
    scene = Scene()
    scene.held = [holding("a", 100), holding("b", 1)]
    scene.after(10)
    scene.held = []
    assert scene.after(10) == {}


def test_a_flood_of_checkpoints_takes_no_more_memory_than_its_share() -> None:
    scene = Scene()
    scene.held = [holding(f"rank-{number}", 1) for number in range(2 * CHECKPOINTS_WATCHED_MAX)]
    scene.of_peer = [holding(f"flood-{number}", 1) for number in range(10_000)]
    scene.after(10)
    assert len(scene.freshness._newest) == CHECKPOINTS_WATCHED_MAX


def test_a_restart_does_not_make_the_newest_version_young() -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    scene.restart()
    assert scene.after(3600) == {"freshest": 3600.0, "stalest": 3600.0}
    scene.held.append(holding("a", 101))
    assert scene.after(5) == {"freshest": 0.0, "stalest": 0.0}
    scene.restart()
    assert scene.freshness.seen().versions == {"freshest": 101, "stalest": 101}


def test_a_version_counts_once_some_node_has_all_of_it() -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    scene.of_peer = [holding("a", 101, is_whole=False)]
    assert scene.after(60)["freshest"] == 60.0
    scene.of_peer = [holding("a", 101)]
    assert scene.after(60)["freshest"] == 0.0
    assert scene.freshness.seen().versions["freshest"] == 101


def test_of_a_checkpoint_of_which_nobody_has_all_there_is_no_age() -> None:
    scene = Scene()
    scene.held = [holding("a", 100, is_whole=False)]
    assert scene.after(0) == {}


def test_the_newest_versions_of_both_extremes_are_shown() -> None:
    scene = Scene()
    scene.held = [holding("a", 0)]
    scene.after(0)
    scene.held.append(holding("b", 7))
    scene.after(60)
    assert scene.freshness.seen().versions == {"freshest": 7, "stalest": 0}


@pytest.mark.parametrize("set_by_s", [30 * 86_400.0, -3650 * 86_400.0])
def test_a_wall_clock_that_is_set_changes_no_age(set_by_s: float) -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    scene.ahead_s += set_by_s
    assert scene.after(60) == {"freshest": 60.0, "stalest": 60.0}
    scene.restart()
    assert scene.after(60) == {"freshest": 120.0, "stalest": 120.0}


def test_over_a_reboot_the_date_counts() -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    scene.now_s, scene.ahead_s, scene.boot = 5.0, scene.ahead_s + scene.now_s - 5.0 + 60.0, "b"
    scene.restart()
    assert scene.after(0)["freshest"] == pytest.approx(60.0)


def test_a_clock_that_was_set_back_makes_no_version_younger_than_now() -> None:
    scene = Scene()
    scene.held = [holding("a", 100)]
    scene.after(0)
    scene.ahead_s -= 60
    scene.boot = "b"
    scene.restart()
    assert scene.after(0)["freshest"] == 0.0
