"""What the parts of a fleet share: the clock, the nodes, who reaches whom, who hears what when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ckptd.copies.zones import Zone
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import Criticality
from ckptd.sim.fleet.member import Heard, Member, Pulling, Said, Saved
from ckptd.sim.fleet.plan import FleetPlan
from ckptd.sim.world.virtual_time import World

_PROMPT: Final = 0.95
"""So many of those who hear something have a question open and hear it soon."""


class FleetWatch:
    """Is shown everything that happens. Changes nothing.

    Attributes:
        ground: Where it happens.
    """

    ground: Ground

    def asked(self, saved: Saved) -> list[Criticality]:
        """Return the classes of which copies are asked for and that have bytes."""
        counts = self.ground.plan.counts
        return [each for each, size in saved.sizes.items() if size and counts.of(each)]

    def saved(self, member: Member, saved: Saved) -> None:
        """Take note that a job saved a version on a node."""

    def rotated(self, member: Member, saved: Saved) -> None:
        """Take note that a job removed a version of its own."""

    def joined(self, member: Member) -> None:
        """Take note that a node is there for the first time."""

    def went(self, member: Member) -> None:
        """Take note that a daemon ended."""

    def returned(self, member: Member) -> None:
        """Take note that a daemon runs again."""

    def wiped(self, member: Member) -> None:
        """Take note that all that lay on a node is gone."""

    def lost(self, member: Member, saved: Saved) -> None:
        """Take note that a copy is gone and nobody decided that."""

    def split(self, half: frozenset[NodeId]) -> None:
        """Take note of who reaches only each other; empty: everybody reaches everybody."""

    def pulling(self, member: Member, pulling: Pulling) -> None:
        """Take note that a node begins to fetch a copy."""

    def moved(self, member: Member, count: int) -> None:
        """Take note that bytes of copies came to a node."""

    def pulled(self, member: Member, saved: Saved, least: Criticality) -> None:
        """Take note that a copy is whole."""

    def gave_back(self, member: Member, saved: Saved) -> None:
        """Take note that a node is about to remove what it decided to give back."""

    def removed(self, member: Member, saved: Saved) -> None:
        """Take note that it has removed it."""

    def ticked(self) -> None:
        """Look at a fleet in which nothing happens at this moment."""

    def ended(self) -> None:
        """Look at it once it is over."""


class Ground:
    """The clock, the nodes and what lies between them.

    Args:
        plan: Of the fleet.
        watches: Are shown everything.

    Attributes:
        world: The clock.
        members: All nodes, also those that have not joined yet.
        known: Every version that was saved.
        half: Who reaches only each other; empty: everybody reaches everybody.
        dead: Who never returns.
        on_heard: Called when a node heard something new of another.
        on_look: Called when a node is to decide.
    """

    def __init__(self, plan: FleetPlan, watches: Sequence[FleetWatch]) -> None:
        self.plan = plan
        self.paces = plan.paces
        self.world = World(plan.seed)
        self.members = {each.node: Member(each) for each in plan.members}
        self.known: dict[Digest, Saved] = {}
        self.half: frozenset[NodeId] = frozenset()
        self.dead: dict[NodeId, None] = {}
        self.on_heard: Callable[[Member, Member], None] = lambda *_: None
        self.on_look: Callable[[Member], None] = lambda _: None
        self.watches = watches
        for watch in watches:
            watch.ground = self
        self.lines: list[str] = []
        self._rng = self.world.stream("ground")
        self._said: dict[NodeId, Said] = {}
        self._on_the_way: dict[tuple[NodeId, NodeId], None] = {}

    @property
    def now(self) -> int:
        """The moment."""
        return self.world.now

    def reaches(self, one: Member, other: Member) -> bool:
        """Return whether two nodes run and reach each other."""
        is_apart = (one.node in self.half) != (other.node in self.half)
        return one.is_up and other.is_up and not is_apart

    def others(self, member: Member) -> Iterator[Member]:
        """Return all other nodes."""
        return (each for each in self.members.values() if each is not member)

    def zone_of(self, asking: Member, other: Member) -> Zone:
        """Return where a node stands, as far as another knows: never by its own word."""
        return other.plan.zone if asking is other else other.plan.known_zone

    def announce(self, member: Member) -> None:
        """Let others learn what became of a node: what it has, that it is away or back."""
        self._said.pop(member.node, None)
        for other in self.others(member):
            if other.is_up:
                self._send_word(other, member)

    def listen(self, member: Member) -> None:
        """Let a node that starts learn what became of all others."""
        member.unasked = {other.node: None for other in self.others(member)}
        for other in self.others(member):
            self._send_word(member, other)

    def stir(self, member: Member) -> None:
        """Let a node decide soon, and once more: something that it knows has changed."""
        member.looks_due = 2
        self._plan_look(member)

    def tell(self, member: Member, what: str) -> None:
        """Write something into the story."""
        self.lines.append(f"{self.now / 1e9:10.3f} {member.node} {what}")

    def _plan_look(self, member: Member) -> None:
        if member.is_up and not member.is_look_planned:
            member.is_look_planned = True
            look_ns = self.paces.look_ns
            wait_ns = look_ns - (self.now - member.looked_ns) % look_ns
            self.world.after(wait_ns, self._look, member)

    def _look(self, member: Member) -> None:
        member.is_look_planned = False
        if not member.is_up:
            return
        member.looked_ns = self.now
        member.looks_due -= 1
        self.on_look(member)
        if member.looks_due > 0:
            self._plan_look(member)

    def _send_word(self, to: Member, about: Member) -> None:
        """Let a word travel; what it says is what is so when it arrives."""
        pair = (to.node, about.node)
        if pair in self._on_the_way:
            return
        self._on_the_way[pair] = None
        first, last = self.paces.heard_ns if self.reaches(to, about) else self.paces.lost_ns
        soon = first + (last - first) // 10
        lag_ns = self._rng.randint(first, soon if self._rng.random() < _PROMPT else last)
        self.world.after(lag_ns, self._hear, to, about)

    def _hear(self, to: Member, about: Member) -> None:
        del self._on_the_way[to.node, about.node]
        to.unasked.pop(about.node, None)
        if not to.is_up:
            return
        heard = to.heard.get(about.node)
        if self.reaches(to, about):
            said = self._said_by(about)
            if heard is None or heard.lost_since_ns is not None or heard.said is not said:
                to.heard[about.node] = Heard(said)
                self.on_heard(to, about)
                self.stir(to)
        elif heard is not None and heard.lost_since_ns is None:
            heard.lost_since_ns = self.now
            self.stir(to)

    def _said_by(self, member: Member) -> Said:
        said = self._said.get(member.node)
        if said is None:
            said = self._said[member.node] = member.said(self.known.values())
        return said
