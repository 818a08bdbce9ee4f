"""Who hears of whom: announcements of holdings, losing peers and finding them again.

The counterpart of ``ckptd.daemon.recover.peering``: every node keeps a question open at each peer
that it follows. A change is announced to all who wait, as one value that they share; a broken
connection is noticed at once and a dead host after a while; who was lost is asked again.
"""

from __future__ import annotations

from random import Random
from typing import Final

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers.following import FOLLOWED_MAX
from ckptd.core.peers.pauses import back_off_ns, spread_ns, wait_ns
from ckptd.limits import CONNECT_TIMEOUT_NS, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.sim.node.node import Node
from ckptd.sim.world.network import Network
from ckptd.sim.world.virtual_time import World

LOST_AFTER_NS: Final = 10 * SECOND
"""How long a peer may say nothing beyond that, as in ``net.inquiry``."""
_LATE_NS: Final = 500 * MS
"""How soon an announcement is tried again that could not get through."""


class Tie:
    """One node following another.

    Attributes:
        follower: Who asks.
        followed: Who answers.
        life: The life of the other one that it is connected to; ``None`` while it is lost.
        failures: Questions without an answer, in a row.
        is_settled: The other one was asked once in this life of the follower.
        asking: Names the question that is open; an older one does not count.
        heard: The last announcement that got through, by number.
    """

    __slots__ = ("asking", "failures", "followed", "follower", "heard", "is_settled", "life")

    def __init__(self, follower: Node, followed: Node) -> None:
        self.follower = follower
        self.followed = followed
        self.life: int | None = None
        self.failures = 0
        self.is_settled = False
        self.asking = 0
        self.heard = -1


class SimulatedPeering:
    """All ties of a cluster.

    Args:
        world: Time.
        network: What lies between the nodes.
        pace_ns: A node announces changes at most this often.
    """

    def __init__(self, world: World, network: Network, *, pace_ns: int) -> None:
        self._world = world
        self._network = network
        self._pace_ns = pace_ns
        self._rng: Random = world.stream("peering")
        self._following: dict[NodeId, list[Tie]] = {}
        self._followers: dict[NodeId, list[Tie]] = {}
        self._unsettled: dict[NodeId, int] = {}
        self._is_everybody_heard: dict[NodeId, bool] = {}
        self._revisions: dict[NodeId, int] = {}
        self._announced_ns: dict[NodeId, int] = {}
        self._is_due: dict[NodeId, bool] = {}

    def follow(self, follower: Node, followed: Node) -> None:
        """Let a node know another one."""
        tie = Tie(follower, followed)
        self._following.setdefault(follower.name, []).append(tie)
        self._followers.setdefault(followed.name, []).append(tie)

    # Lives

    def started(self, node: Node) -> None:
        """Let a daemon that has just started ask all its peers."""
        ties = self._following.get(node.name, [])
        self._unsettled[node.name] = len(ties)
        if not ties:
            node.report(DiscoverySettled())
        for tie in ties:
            tie.life, tie.failures, tie.is_settled = None, 0, False
            tie.asking += 1
            self._ask(tie, tie.asking)

    def crashed(self, node: Node) -> None:
        """Report broken connections of a node to its followers that it can reach."""
        for tie in self._following.get(node.name, []):
            tie.asking += 1
            tie.life = None
        for tie in self._followers.get(node.name, []):
            if tie.life is not None:
                delay_ns = self._network.delay_ns(node.name, tie.follower.name)
                self._world.after(delay_ns, self._heard_reset, tie, tie.asking)
        self.suspect(node.name)

    def suspect(self, node: NodeId, other: NodeId | None = None) -> None:
        """Let those who wait for an answer time out if none can come."""
        for tie in (*self._followers.get(node, ()), *self._following.get(node, ())):
            if tie.life is not None and other in {
                None, tie.follower.name, tie.followed.name,
            }:  # fmt: skip
                count = min(len(self._following[tie.follower.name]), FOLLOWED_MAX)
                patience_ns = LOST_AFTER_NS + self._rng.randrange(wait_ns(count))
                self._world.after(patience_ns, self._ran_out, tie, tie.asking)

    def lose(self, node: NodeId) -> None:
        """Let all followers of a node lose it for a moment."""
        for tie in self._followers.get(node, ()):
            if tie.life is not None:
                self._lose(tie)

    def _heard_reset(self, tie: Tie, asking: int) -> None:
        if asking == tie.asking and self._reaches(tie):
            self._lose(tie)

    def _ran_out(self, tie: Tie, asking: int) -> None:
        if asking == tie.asking and not self._is_connected(tie):
            self._lose(tie)

    # Questions

    def _reaches(self, tie: Tie) -> bool:
        return self._network.reaches(tie.follower.name, tie.followed.name)

    def _is_connected(self, tie: Tie) -> bool:
        server = tie.followed.server
        is_same = server.is_up and tie.life == server.life
        return is_same and not server.is_mute and self._reaches(tie)

    def _ask(self, tie: Tie, asking: int) -> None:
        """Ask once; answer, refusal or silence follow."""
        if asking != tie.asking:
            return
        way_ns = 2 * self._network.delay_ns(tie.follower.name, tie.followed.name)
        if not self._reaches(tie):
            self._world.after(CONNECT_TIMEOUT_NS, self._missed, tie, asking)
        elif not tie.followed.server.accepts:
            self._world.after(way_ns, self._missed, tie, asking)
        else:
            self._world.after(2 * way_ns, self._answered, tie, asking, tie.followed.life)

    def _answered(self, tie: Tie, asking: int, life: int) -> None:
        if asking != tie.asking:
            return
        tie.life = life
        if not self._is_connected(tie):
            tie.life = None
            self._world.after(LOST_AFTER_NS, self._missed, tie, asking)
            return
        tie.failures = 0
        tie.heard = self._revisions.get(tie.followed.name, 0)
        tie.follower.report(*tie.followed.announcements())
        self._settle(tie)
        self._look_who_is_heard(tie.follower)

    def _missed(self, tie: Tie, asking: int) -> None:
        if asking == tie.asking:
            self._lose(tie)
            self._settle(tie)

    def _lose(self, tie: Tie) -> None:
        """Stop relying on a peer, and ask again after a pause."""
        pause_ns = back_off_ns(tie.failures)
        tie.failures += 1
        tie.asking += 1
        was_live, tie.life = tie.life is not None, None
        self._world.after(spread_ns(pause_ns, self._rng), self._ask, tie, tie.asking)
        if was_live:
            tie.follower.report(*map(PeerLost, tie.followed.paths))
            self._look_who_is_heard(tie.follower)

    def _settle(self, tie: Tie) -> None:
        if tie.is_settled:
            return
        tie.is_settled = True
        name = tie.follower.name
        self._unsettled[name] -= 1
        if not self._unsettled[name]:
            self._is_everybody_heard.pop(name, None)
            self._look_who_is_heard(tie.follower)

    def _look_who_is_heard(self, node: Node) -> None:
        """Report that every peer was asked, once and whenever all of them answer or not all."""
        if not self._unsettled[node.name]:
            is_everybody = all(tie.life is not None for tie in self._following[node.name])
            if self._is_everybody_heard.get(node.name) is not is_everybody:
                self._is_everybody_heard[node.name] = is_everybody
                node.report(DiscoverySettled(is_everybody))

    # Announcements

    def changed(self, node: Node) -> None:
        """Announce what a node holds now, or soon if it announced something just now."""
        self._revisions[node.name] = self._revisions.get(node.name, 0) + 1
        if self._is_due.get(node.name):
            return
        self._is_due[node.name] = True
        earliest_ns = self._announced_ns.get(node.name, -self._pace_ns) + self._pace_ns
        self._world.at(max(earliest_ns, self._world.now), self._announce, node)

    def _announce(self, node: Node) -> None:
        self._is_due[node.name] = False
        self._announced_ns[node.name] = self._world.now
        if not node.is_up:
            return
        revision, announced = self._revisions[node.name], node.announcements()
        for tie in self._followers.get(node.name, ()):
            if tie.life == node.life:
                delay_ns = self._network.delay_ns(node.name, tie.follower.name)
                self._world.after(delay_ns, self._tell, tie, tie.asking, revision, announced)

    def _tell(
        self, tie: Tie, asking: int, revision: int, announced: tuple[HoldingsArrived, ...]
    ) -> None:
        """Deliver an announcement, unless a newer one arrived before."""
        if asking != tie.asking or revision <= tie.heard:
            return
        if not self._is_connected(tie):
            self._world.after(_LATE_NS, self._tell, tie, asking, revision, announced)
            return
        tie.heard = revision
        tie.follower.report(*announced)
