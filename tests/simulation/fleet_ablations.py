"""Safeguards of fleets that keep copies, each with a way to do without it, and seeds that miss it.

``make ablations`` goes through them after those of the scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final
from unittest import mock

from ckptd.copies.zones import Zone
from ckptd.limits import SECOND
from ckptd.model.ids import Digest, NodeId
from ckptd.sim.fleet.auditing import Audits
from ckptd.sim.fleet.drawing import draw_fleet
from ckptd.sim.fleet.giving_back import GivingBack
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Member
from ckptd.sim.fleet.plan import FleetPlan, Lie, Paces
from ckptd.sim.fleet.watched_fleet import WatchedFleet


@dataclass(frozen=True, slots=True)
class FleetAblation:
    """A safeguard and how to do without it.

    Attributes:
        safeguard: Which.
        seeds: Some that miss it.
        problem: What is said where it is missed.
        numbers: What of the plan is another number.
        rules: What is put in the place of which method of the simulator, which does as the daemon.
    """

    safeguard: str
    seeds: tuple[int, ...]
    problem: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[tuple[type, str], object] = field(default_factory=dict)

    def miss(self, seed: int) -> str:
        """Run the fleet of a seed without it; say what went wrong, or nothing."""
        with ExitStack() as stack:
            for (owner, name), rule in self.rules.items():
                stack.enter_context(mock.patch.object(owner, name, rule))
            try:
                WatchedFleet(self._without(draw_fleet(seed))).run()
            except AssertionError as failed:
                return str(failed)
        return ""

    def _without(self, plan: FleetPlan) -> FleetPlan:
        return replace(plan, **self.numbers)


def _believe(audits: Audits, member: Member, node: NodeId, digest: Digest) -> bool:
    del audits, member, node, digest
    return True


def _say_yes(audits: Audits, member: Member, other: Member, digest: Digest) -> bool:
    """Take an answer for a proof."""
    heard = member.heard[other.node]
    return audits._ground.reaches(member, other) and heard.said.claims.get(digest) is not None


def _nowhere(ground: Ground, asking: Member, other: Member) -> Zone:
    del ground, asking, other
    return ()


def _by_word(ground: Ground, asking: Member, other: Member) -> Zone:
    """Believe where a node says that it stands."""
    del ground
    if other is not asking and other.plan.lie is Lie.ZONE:
        return ("elsewhere",)
    return other.plan.known_zone


def _remove_at_once(giving_back: GivingBack, member: Member, digest: Digest, life: int) -> None:
    """Ask nobody."""
    del life
    ground, held = giving_back._ground, member.shelf.get(digest)
    if held is not None:
        for watch in ground.watches:
            watch.gave_back(member, held.saved)
        del member.shelf[digest]
        for watch in ground.watches:
            watch.removed(member, held.saved)
    member.off_offer.pop(digest, None)
    ground.announce(member)


_LATE_NEWS: Final = Paces(heard_ns=(60 * SECOND, 300 * SECOND), lost_ns=(60 * SECOND, 300 * SECOND))
"""Nodes take turns, further apart than news take. So asking matters where those are late."""

FLEET_ABLATIONS: Final = (
    FleetAblation(
        "claims count once they are audited",
        (37, 38, 32),
        "gives back",
        rules={(Audits, "is_proven"): _believe, (Audits, "prove"): _say_yes},
    ),
    FleetAblation("a lost holder counts for a while", (32, 9, 5), "times as much", {"grace_ns": 0}),
    FleetAblation(
        "copies are in different zones",
        (12, 37, 27),
        "in fewer zones",
        rules={(Ground, "zone_of"): _nowhere},
    ),
    FleetAblation(
        "zones are not taken from a word",
        (176, 33),
        "in fewer zones",
        rules={(Ground, "zone_of"): _by_word},
    ),
    FleetAblation(
        "holders are asked before a copy goes",
        (28, 258, 185, 5),
        "gives back",
        {"paces": _LATE_NEWS},
        rules={(GivingBack, "_ask"): _remove_at_once},
    ),
)
