"""A fleet: nodes that decide for themselves, jobs that save, and what goes wrong.

Fleet(draw_fleet(7), watches).run()
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from ckptd.copies.deciding import Decider
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Criticality
from ckptd.sim.fleet import view
from ckptd.sim.fleet.auditing import Audits
from ckptd.sim.fleet.giving_back import GivingBack
from ckptd.sim.fleet.ground import FleetWatch, Ground
from ckptd.sim.fleet.member import Held, Member, Saved
from ckptd.sim.fleet.plan import FleetPlan, Lie, Mishap, MishapKind, SavePlan
from ckptd.sim.fleet.pulling import Pulls

_TICK_NS: Final = 5 * SECOND


class Fleet:
    """Runs a plan.

    Args:
        plan: What happens.
        watches: Are shown everything.
    """

    def __init__(self, plan: FleetPlan, watches: Sequence[FleetWatch] = ()) -> None:
        self.plan = plan
        self.ground = ground = Ground(plan, watches)
        self._audits = Audits(ground)
        self._pulls = Pulls(ground)
        self._giving_back = GivingBack(ground, self._audits, self._may_go)
        self._rng = ground.world.stream("fleet")
        ground.on_heard = self._audits.heard
        ground.on_look = self._look

    def run(self) -> None:
        """Run it to its end."""
        world = self.ground.world
        for member in self.ground.members.values():
            world.at(member.plan.joins_at_ns, self._join, member)
        for save in self.plan.saves:
            for index in range(save.count):
                world.at(save.first_ns + index * save.every_ns, self._save, save, index)
        for before, after in pairwise(
            sorted((m for m in self.plan.mishaps if m.kind is MishapKind.SPLIT), key=_begin)
        ):
            assert before.at_ns + before.for_ns < after.at_ns, "one partition at a time"
        for mishap in self.plan.mishaps:
            world.at(mishap.at_ns, self._go_wrong, mishap)
        world.at(_TICK_NS, self._tick)
        while world.step(self.plan.ends_at_ns):
            pass
        for watch in self.ground.watches:
            watch.ended()

    def digest(self) -> str:
        """Return the digest of the story."""
        return hashlib.blake2b("\n".join(self.ground.lines).encode(), digest_size=16).hexdigest()

    def _tick(self) -> None:
        for watch in self.ground.watches:
            watch.ticked()
        self.ground.world.after(_TICK_NS, self._tick)

    def _look(self, member: Member) -> None:
        """Let a node decide, and carry out what it decided; who claims everything fetches none."""
        if member.plan.lie is Lie.CLAIMS:
            return
        fleet_view = view.view_of(self.ground, self._audits, member)
        decided = member.decider.decide(fleet_view, now=self.ground.now)
        if decided.is_full != member.is_full:
            member.is_full = decided.is_full
            self.ground.announce(member)
        self._pulls.carry_out(member, decided.pulls)
        self._giving_back.carry_out(member, decided.give_back)

    def _look_anyway(self, member: Member, life: int) -> None:
        if life == member.life and member.is_up:
            self.ground.stir(member)
            pause_ns = self.plan.paces.look_anyway_ns
            self.ground.world.after(pause_ns, self._look_anyway, member, life)

    def _may_go(
        self, member: Member, digest: Digest, answered: Mapping[Digest, frozenset[NodeId]]
    ) -> bool:
        """Decide once more, by what those say who were asked."""
        fleet_view = view.view_of(self.ground, self._audits, member, only=answered)
        decided = member.decider.decide(fleet_view, now=self.ground.now)
        return any(each.digest == digest for each in decided.give_back)

    def _join(self, member: Member) -> None:
        for watch in self.ground.watches:
            watch.joined(member)
        self._start(member)

    def _start(self, member: Member) -> None:
        """Start a daemon: what it knew in memory is forgotten."""
        member.is_up = True
        member.life += 1
        member.looked_ns = self._rng.randint(0, self.plan.paces.look_ns)
        member.decider = Decider()
        member.heard.clear()
        member.off_offer.clear()
        member.distrusted.clear()
        self.ground.tell(member, f"begins life {member.life}")
        for watch in self.ground.watches:
            watch.returned(member)
        self._audits.resume(member)
        self.ground.listen(member)
        self.ground.announce(member)
        self._pulls.go_on(member)
        pause_ns = self._rng.randint(0, self.plan.paces.look_anyway_ns)
        self.ground.world.after(pause_ns, self._look_anyway, member, member.life)

    def _end(self, member: Member) -> None:
        member.is_up = False
        self.ground.tell(member, "is away")
        for watch in self.ground.watches:
            watch.went(member)
        self.ground.announce(member)

    def _save(self, save: SavePlan, index: int) -> None:
        """Let a job save a version on all of its nodes that run, and remove what is too old."""
        ground = self.ground
        saved = saved_of(save, index)
        for node in save.writers:
            member = ground.members[node]
            if not member.is_up:
                continue
            ground.known[saved.digest] = saved
            member.shelf[saved.digest] = Held(saved, Criticality.DEFERRED, is_copy=False)
            ground.tell(member, f"saves {saved.text}")
            for watch in ground.watches:
                watch.saved(member, saved)
            for old in range(index - save.kept + 1):
                self._rotate(member, saved_of(save, old))
            ground.announce(member)
            ground.stir(member)

    def _rotate(self, member: Member, saved: Saved) -> None:
        held = member.shelf.get(saved.digest)
        if held is not None and not held.is_copy:
            del member.shelf[saved.digest]
            for watch in self.ground.watches:
                watch.rotated(member, saved)

    def _go_wrong(self, mishap: Mishap) -> None:
        if mishap.kind is MishapKind.SPLIT:
            self._split(frozenset(mishap.nodes))
            self.ground.world.after(mishap.for_ns, self._split, frozenset())
            return
        for node in mishap.nodes:
            member = self.ground.members[node]
            if not member.is_up:
                continue
            if mishap.kind is MishapKind.ROT:
                self._rot(member)
                continue
            if mishap.kind is MishapKind.DIE:
                self.ground.dead[node] = None
            self._end(member)
            if mishap.kind is MishapKind.WIPE:
                self._wipe(member)
            if mishap.kind is not MishapKind.DIE:
                self.ground.world.after(mishap.for_ns, self._start, member)

    def _split(self, half: frozenset[NodeId]) -> None:
        self.ground.half = half
        for watch in self.ground.watches:
            watch.split(half)
        for member in self.ground.members.values():
            if member.is_up:
                self.ground.announce(member)

    def _wipe(self, member: Member) -> None:
        member.shelf.clear()
        member.pretended.clear()
        member.pulls.clear()
        member.proofs.clear()
        self.ground.tell(member, "is wiped")
        for watch in self.ground.watches:
            watch.wiped(member)

    def _rot(self, member: Member) -> None:
        """Lose all files of copies while the daemon runs; it notices."""
        for digest, held in list(member.shelf.items()):
            if held.is_copy:
                del member.shelf[digest]
                for watch in self.ground.watches:
                    watch.lost(member, held.saved)
        self.ground.tell(member, "loses its copies")
        self.ground.announce(member)
        self.ground.stir(member)


def saved_of(save: SavePlan, index: int) -> Saved:
    """Return a version that is saved."""
    version = Version(100 * (index + 1))
    name = CheckpointName(save.checkpoint)
    digest = hashlib.sha256(f"{name}@{version}".encode()).hexdigest()
    return Saved(name, version, Digest(digest), save.sizes)


def _begin(mishap: Mishap) -> int:
    return mishap.at_ns
