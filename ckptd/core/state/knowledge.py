"""Everything the scheduler knows.

Plain records without decisions; :mod:`ckptd.core.state.invariants` states what must hold between
them. Only :meth:`Scheduler.handle` changes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ckptd.core.state.alarms import Alarms
from ckptd.core.state.job_claims import JobClaims
from ckptd.core.state.lane import Lane, Trial
from ckptd.core.state.latencies import Latencies
from ckptd.core.state.learned import LearnedRates
from ckptd.core.state.peer import Peer, of_version, once_for_each_node
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.standing import Standing
from ckptd.limits import PEERS_MAX
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    OWN_DISKS,
    CheckpointName,
    Digest,
    Epoch,
    LaneId,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.joint import Joint

REFUSED_MAX: Final = 1024
"""So many are remembered; to find one out costs a manifest, or a recovery."""


def _disks_of_this_node() -> Peer:
    return Peer(NodeId(OWN_DISKS), Epoch(0), path=OWN_DISKS)


@dataclass(slots=True)
class State:
    """Everything.

    Attributes:
        peers: By path. Changed by :meth:`add_peer` and :meth:`forget_peer`.
        own_disks: What lies on this node already, of the versions that are being recovered: a
            source like a peer, and none.
        paths: Of each of them all paths that lead to it.
        standings: How each source stands, by origin.
        quarantines_forgotten: How often sources were put into quarantine that are forgotten.
        recoveries: All and only recoveries that have not ended.
        transfers: The lane of each transfer in flight; all and only transfers of the lanes.
        lanes: All and only lanes of the recoveries, by name.
        learned: What earlier lives of links have shown.
        first_bytes: How long first bytes took lately, over all links.
        now_ns: When the last event became known.
        best_rate: The most that came in one second, over recoveries that ended; each takes a
            tenth off it, for networks change.
        is_settled: Every known peer was asked once.
        is_everybody_heard: Every configured address answers at present.
        is_paced: Something was not asked for because enough is in flight: every source is to be
            looked at again when less is.
        trial: The trial of another number of lanes that is under way.
        trials_failed: How many in a row taught that the number was right.
        next_trial_ns: No trial begins before this moment.
        lane_alarms: When each lane is late or idle for too long.
        peer_alarms: When each resting peer may be asked again.
        recovery_alarms: When each recovery has something to do though nothing happened.
        refused_contents: Contents whose manifests cannot be used, and what is wrong with them;
            that somebody claims to have one counts for nothing.
        job_claims: Which shards of jobs peers claim.
        joints: What was joined of shards for recoveries of jobs, by its identity on this node.
        identity_trouble: What is wrong with this node's own certificate; empty: nothing.
        next_lane: The next lane's name.
        next_transfer: The next transfer's name.
        next_sequence: The next recovery's place in the order of arrival.
    """

    peers: dict[PathId, Peer] = field(default_factory=dict)
    own_disks: Peer = field(default_factory=_disks_of_this_node)
    paths: dict[NodeId, list[PathId]] = field(default_factory=dict)
    standings: dict[Origin, Standing] = field(default_factory=dict)
    quarantines_forgotten: int = 0
    recoveries: dict[RecoveryId, Recovery] = field(default_factory=dict)
    lanes: dict[LaneId, Lane] = field(default_factory=dict)
    transfers: dict[TransferId, LaneId] = field(default_factory=dict)
    learned: LearnedRates = field(default_factory=LearnedRates)
    first_bytes: Latencies = field(default_factory=Latencies)
    now_ns: int = 0
    best_rate: float = 0.0
    is_settled: bool = False
    is_everybody_heard: bool = False
    is_paced: bool = False
    trial: Trial | None = None
    trials_failed: int = 0
    next_trial_ns: int = 0
    lane_alarms: Alarms[LaneId] = field(default_factory=Alarms)
    peer_alarms: Alarms[PathId] = field(default_factory=Alarms)
    recovery_alarms: Alarms[RecoveryId] = field(default_factory=Alarms)
    refused_contents: dict[Digest, str] = field(default_factory=dict)
    job_claims: JobClaims = field(default_factory=JobClaims)
    joints: dict[Digest, Joint] = field(default_factory=dict)
    identity_trouble: str = ""
    next_lane: int = 1
    next_transfer: int = 1
    next_sequence: int = 1

    def note_refused(self, digest: Digest, why: str) -> None:
        """Remember that a content cannot be recovered here; the oldest one makes room."""
        self.refused_contents[digest] = why
        if len(self.refused_contents) > REFUSED_MAX:
            del self.refused_contents[next(iter(self.refused_contents))]

    def claimed(
        self,
        checkpoint: CheckpointName,
        wanted: Version | None,
        *,
        at_most: int,
        now: int | None = None,
    ) -> list[Holding]:
        """Return what live nodes have of a checkpoint: the newest of each, and what is wanted.

        Args:
            checkpoint: Of which checkpoint.
            wanted: Also all of this version; ``None``: of none.
            at_most: So many versions of each peer.
            now: The moment; ``None``: also of peers in quarantine.
        """
        said: list[tuple[Peer, Holding]] = []
        for peer in self.peers.values():
            is_trusted = now is None or peer.standing.quarantined_until_ns <= now
            if peer.is_live and is_trusted:
                newest = peer.newest_first(checkpoint)
                said += ((peer, holding) for holding in newest[:at_most])
                if wanted is not None:
                    named = of_version(newest, wanted, behind=at_most)
                    said += ((peer, holding) for holding in named)
        return once_for_each_node(said)

    def sources(self) -> Iterator[Peer]:
        """Yield all from whom blocks can come: the peers, and this node's disks."""
        yield from self.peers.values()
        if self.own_disks.holdings:
            yield self.own_disks

    def source(self, path: PathId) -> Peer:
        """Return who is known by the name of a path."""
        return self.own_disks if path == OWN_DISKS else self.peers[path]

    def known_source(self, path: PathId) -> Peer | None:
        """Return who is known by the name of a path; ``None``: nobody."""
        return self.own_disks if path == OWN_DISKS else self.peers.get(path)

    def add_peer(self, peer: Peer) -> None:
        """Know a peer on a path to it, in place of an earlier life of it."""
        self.peers[peer.path] = peer
        paths = self.paths.setdefault(peer.node, [])
        if peer.path not in paths:
            paths.append(peer.path)

    def forget_peer(self, path: PathId) -> None:
        """Know nothing of a peer on a path any more."""
        node = self.peers.pop(path).node
        self.job_claims.forget(path)
        self.paths[node].remove(path)
        if not self.paths[node]:
            del self.paths[node]

    def on_other_paths(self, peer: Peer) -> Iterator[Peer]:
        """Yield the same node on each other path on which it is live."""
        for path in self.paths.get(peer.node, ()):
            if path != peer.path and self.peers[path].is_live:
                yield self.peers[path]

    def live_holdings(self) -> list[Holding]:
        """Return what all live nodes hold, once for each: what a version is chosen from."""
        return once_for_each_node(
            (peer, holding) for peer in self.peers.values() if peer.is_live for holding in peer.said
        )

    def standing_of(self, origin: Origin) -> Standing:
        """Return how a source stands; of one that was never heard of nothing is held.

        There are as many as peers. Those of which nobody answers make room, first those against
        which nothing is held.
        """
        known = self.standings.get(origin)
        if known is not None:
            return known
        if len(self.standings) >= PEERS_MAX:
            in_use = {peer.origin for peer in self.peers.values()}
            idle = [name for name in self.standings if name not in in_use]
            clean = [name for name in idle if self.standings[name].is_clean]
            for name in (clean or idle)[:1]:
                self.quarantines_forgotten += self.standings.pop(name).quarantines
        return self.standings.setdefault(origin, Standing())

    @property
    def quarantine_count(self) -> int:
        """How often any source was put into quarantine."""
        counts = (standing.quarantines for standing in self.standings.values())
        return self.quarantines_forgotten + sum(counts)
