"""The one door to the decider: facts in, orders out.

The driver reports every fact through :meth:`Scheduler.handle` with the time at which it
became known, carries out the orders that come back, and calls again with ``TimePassed`` at
:meth:`Scheduler.next_deadline`. Time never goes back. Which fact ends which order is
:data:`ckptd.core.effects.ENDS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Final, get_args

from ckptd.core.effects import Effect
from ckptd.core.events import (
    Event,
    IngressLimited,
    RecoveryRequested,
    TimePassed,
)
from ckptd.core.explain import narration
from ckptd.core.explain.bottleneck import LocalLoad, find_bottleneck
from ckptd.core.explain.peer_parts import explain
from ckptd.core.explain.prediction import Supply, supplies_of
from ckptd.core.explain.snapshot import bytes_by_class, view_peer, view_recovery, view_sources
from ckptd.core.jobs import collecting, joined
from ckptd.core.jobs.joined_sources import JoinedSource, joined_sources
from ckptd.core.jobs.newest import NewestOfJob, newest_of
from ckptd.core.jobs.placed import placed_versions
from ckptd.core.jobs.seeking import advance_jobs
from ckptd.core.options import Options
from ckptd.core.peers import audits, blame, claims, troubles
from ckptd.core.peers.audits import (
    AuditableClaim,
    claim_moments,
    claims_of,
    claims_of_node,
    doubted_blocks,
)
from ckptd.core.peers.copies import copies_of, is_recovered, parts_of
from ckptd.core.ranges import lane_trials, needing, ordering, prioritizing, stealing, transfers
from ckptd.core.report.choice import ExplainedChoice
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.core.report.rivals import Rival
from ckptd.core.report.verdicts import Explanation
from ckptd.core.report.views import PeerSnapshot, RecoverySnapshot, SourceSnapshot
from ckptd.core.stages import advance, ending, placing_phases, restaging, rival_choice
from ckptd.core.stages.claims_on_content import (
    claimed_contents,
    rivals_of_choice,
    without_unchosen,
)
from ckptd.core.stages.version_choice import explain_choice
from ckptd.core.state.deadlines import next_deadline
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer, once_for_each_node
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    Version,
)
from ckptd.model.joint import Joint
from ckptd.model.words import Bottleneck, Criticality, Stage


class Scheduler:
    """Decides which range is fetched when, from whom, and what becomes of a recovery.

    Pure: the same events at the same times, with an equal random generator, give the same
    orders. Only :meth:`handle` changes anything.
    """

    def __init__(self, rng: Random, options: Options | None = None) -> None:
        self._rng = rng
        self._options = self._unlimited_options = options or Options()
        self._state = State()

    @property
    def is_settled(self) -> bool:
        """Whether every configured address was asked at least once."""
        return self._state.is_settled

    @property
    def quarantine_count(self) -> int:
        """How often any source was put into quarantine."""
        return self._state.quarantine_count

    def is_distrusted(self, origin: Origin, *, now: int) -> bool:
        """Return whether an origin is in quarantine, or sent bad blocks of a version too often."""
        standing = self._state.standings.get(origin)
        return standing is not None and standing.is_distrusted(self._options.trust, now=now)

    def inspect(self) -> State:
        """Return everything that is known, to check invariants; it must not be changed.

        For checkers of the simulator and for tests. The daemon reads views.
        """
        return self._state

    def handle(self, *events: Event, now: int) -> list[Effect]:
        """Take in facts that became known together, and decide once.

        Args:
            events: What happened, in this order. A report on a transfer or a recovery that ended
                is ignored.
            now: When it became known, in nanoseconds of a clock that never goes back.

        Returns:
            The orders that follow from it, to be carried out in this order.
        """
        assert now >= self._state.now_ns, "time went back"
        self._state.now_ns = now
        step = Step(self._state, self._options, self._rng, now)
        for node in self._state.peer_alarms.take_due(now):
            step.note_room(node)
        for event in events:
            self._take_in(step, event)
        transfers.close_late_lanes(step)
        advance_jobs(step)
        advance.advance(step)
        lane_trials.try_lanes(step)
        ordering.order_ranges(step)
        stealing.steal(step)
        narration.report_standstills(step)
        return step.effects

    def next_deadline(self) -> int | None:
        """Return when ``TimePassed`` is due next; ``None`` if only facts can change anything."""
        return next_deadline(self._state)

    def recoveries(self, *, now: int) -> tuple[RecoverySnapshot, ...]:
        """Return a view of every recovery that has not ended, oldest first."""
        return tuple(
            view_recovery(self._state, recovery, self._options, now=now)
            for recovery in self._state.recoveries.values()
        )

    def recovery(self, recovery: RecoveryId, *, now: int) -> RecoverySnapshot | None:
        """Return a view of one recovery; ``None`` if there is none of that name."""
        known = self._state.recoveries.get(recovery)
        return None if known is None else view_recovery(self._state, known, self._options, now=now)

    def stages(self) -> dict[RecoveryId, Stage]:
        """Return how far every recovery is that has not ended, oldest first."""
        return {name: known.stage for name, known in self._state.recoveries.items()}

    def verified(self, recovery: RecoveryId) -> BlockSet:
        """Return the blocks of a recovery that are in staging.

        Raises:
            KeyError: There is none of that name.
        """
        return self._state.recoveries[recovery].coverage.verified

    def committed(self, recovery: RecoveryId) -> BlockSet:
        """Return the blocks of a recovery that are durable and journaled.

        Raises:
            KeyError: There is none of that name.
        """
        return self._state.recoveries[recovery].coverage.committed

    def unchosen(self, recovery: RecoveryId) -> BlockSet:
        """Return the blocks of a recovery that nobody asked for.

        Raises:
            KeyError: There is none of that name.
        """
        return self._state.recoveries[recovery].coverage.unchosen

    def seen_unchosen(self, recovery: RecoveryId) -> Mapping[Digest, BlockSet] | None:
        """Return what a recovery does not want of versions that it saw; ``None``: it wants all."""
        known = self._state.recoveries.get(recovery)
        is_by_choice = known is not None and known.request.is_by_choice
        return known.search.unchosen if known is not None and is_by_choice else None

    def bytes_by_class(self) -> dict[tuple[bool, Criticality], int]:
        """Return bytes of all recoveries whose manifest is here, by whether they are verified."""
        return bytes_by_class(self._state)

    def explain(self, recovery: RecoveryId, *, now: int) -> Explanation | None:
        """Say why a recovery goes as it does; ``None`` if there is none of that name."""
        known = self._state.recoveries.get(recovery)
        return None if known is None else explain(self._state, known, self._options, now=now)

    def bottleneck(self, recovery: RecoveryId, load: LocalLoad, *, now: int) -> Bottleneck | None:
        """Say what binds a recovery now; ``None``: nothing does, or there is none of that name."""
        known = self._state.recoveries.get(recovery)
        return None if known is None else find_bottleneck(self._state, known, load, now=now)

    def sources(self, *, now: int) -> tuple[SourceSnapshot, ...]:
        """Return a view of every peer, by name."""
        return view_sources(self._state, now=now)

    def peer(self, path: PathId, *, now: int) -> PeerSnapshot | None:
        """Return everything that is known of a peer on a path; ``None``: never heard of."""
        known = self._state.peers.get(path)
        return None if known is None else view_peer(self._state, known, now=now)

    def paths_to(self, node: NodeId) -> tuple[PathId, ...]:
        """Return all paths to a node that it ever answered on; none if it was never heard of."""
        return tuple(self._state.paths.get(node, ()))

    def explain_choice(
        self,
        checkpoint: CheckpointName,
        wanted: Version | None,
        not_below: Version | None = None,
        own: Iterable[Holding] = (),
        *,
        unchosen: Mapping[Digest, BlockSet] | None = None,
    ) -> ExplainedChoice:
        """Say which version a recovery would be for if it were requested now, and why.

        Args:
            checkpoint: Of which checkpoint.
            wanted: A version somebody named; ``None`` for the newest.
            not_below: The newest version that this node ever had.
            own: What stands on this node's disks of the checkpoint.
            unchosen: If not all units are wanted: which blocks are not, of versions of which
                that is known.
        """
        at_most = self._options.manifests.claims_max
        known = [*self._state.claimed(checkpoint, wanted, at_most=at_most), *own]
        if unchosen is not None:
            known = [without_unchosen(holding, unchosen) for holding in known]
        return explain_choice(known, checkpoint, wanted, not_below)

    def contents(
        self, checkpoint: CheckpointName, version: Version | None, *, now: int
    ) -> tuple[Rival, ...]:
        """Return what live peers that are not in quarantine claim to have of a checkpoint.

        Nobody was asked for proof.

        Args:
            checkpoint: Of which checkpoint.
            version: Which version; ``None`` for all.
            now: The moment, in nanoseconds.
        """
        return claimed_contents(self._state, checkpoint, version, now=now)

    def rivals_of_choice(
        self,
        checkpoint: CheckpointName,
        wanted: Version | None,
        not_below: Version | None,
        own: Sequence[Holding],
        *,
        now: int,
    ) -> tuple[Rival, ...]:
        """Return what goes by the version that a recovery would be for, if it is several contents.

        Args:
            checkpoint: What would be recovered.
            wanted: The version that is named; ``None`` for the newest.
            not_below: No older version would be taken unless it is named.
            own: What this node has of the checkpoint.
            now: The moment, in nanoseconds.
        """
        return rivals_of_choice(self._state, checkpoint, wanted, not_below, own, now=now)

    def said(self, *, now: int) -> list[tuple[NodeId, tuple[Holding, ...]]]:
        """Return what each live node holds that is not in quarantine."""
        said: dict[NodeId, list[tuple[Peer, Holding]]] = {}
        for peer in self._state.peers.values():
            if peer.is_live and peer.standing.quarantined_until_ns <= now:
                held = said.setdefault(peer.node, [])
                held += ((peer, holding) for holding in peer.said)
        return [(node, tuple(once_for_each_node(held))) for node, held in said.items()]

    def holders(self, digest: Digest, *, now: int) -> tuple[PeerSnapshot, ...]:
        """Return the live peers that have any of a version, by name."""
        return tuple(
            view_peer(self._state, peer, now=now)
            for _, peer in sorted(self._state.peers.items())
            if peer.is_live and digest in peer.holdings
        )

    def copies(self, own: Holding, *, now: int) -> tuple[PathId, ...]:
        """Return a path to each node that says it has all that this node has of a version."""
        return copies_of(self._state, own, self._options.trust, now=now)

    def parts(self, own: Holding) -> dict[NodeId, int]:
        """Return how many blocks those have who say that they have a version in part."""
        return parts_of(self._state, own)

    def is_recovered_elsewhere(self, job: CheckpointName, version: Version) -> bool:
        """Return whether a live peer says that it recovers a version of a job."""
        return is_recovered(self._state, job, version)

    def newest_of_job(
        self,
        request: RecoveryRequested,
        *,
        refused: Collection[tuple[PathId, Digest]] = (),
        now: int,
    ) -> NewestOfJob:
        """Say which version of a job a recovery would be for if it were requested now.

        Args:
            request: What would be requested.
            refused: Claims that count for nothing, by who made them.
            now: The moment, in nanoseconds.
        """
        return newest_of(Step(self._state, self._options, self._rng, now), request, refused)

    @property
    def job_settle_ns(self) -> int:
        """How long after its choice nothing of a job's version is placed."""
        return self._options.jobs.settle_ns

    def joined_sources(self, digest: Digest, joint: Joint, *, now: int) -> list[JoinedSource]:
        """Return what live peers have of some shards that are joined, for no recovery."""
        return joined_sources(self._state, digest, joint, now=now)

    def placed(self, *, now: int) -> dict[CheckpointName, dict[NodeId, Version]]:
        """Return which version of each job live peers placed last, by node."""
        return placed_versions(self._state, now=now)

    def claims(self, digest: Digest) -> list[tuple[PathId, Holding]]:
        """Return what live peers have of a version, by path in the order of their names."""
        return [
            (path, peer.holdings[digest])
            for path, peer in sorted(self._state.peers.items())
            if peer.is_live and digest in peer.holdings
        ]

    def claim(self, path: PathId, digest: Digest) -> Holding | None:
        """Return what a live peer said last that it has of a version; ``None``: nothing."""
        peer = self._state.peers.get(path)
        return peer.holdings.get(digest) if peer is not None and peer.is_live else None

    def claim_moments(self, *, now: int) -> dict[PathId, tuple[Epoch, int]]:
        """Return of each path that may be audited which life answers, and when it said what."""
        return claim_moments(self._state, now=now)

    def claims_of(self, path: PathId) -> list[AuditableClaim]:
        """Return what a live peer said last that it has, as it can be audited."""
        return claims_of(self._state, path)

    def doubted_blocks(self, path: PathId, digest: Digest) -> BlockSet:
        """Return which blocks of a version a peer sent wrongly, and not rightly since."""
        return doubted_blocks(self._state, path, digest)

    def claims_of_node(self, node: NodeId, digest: Digest) -> list[tuple[Origin, Holding]]:
        """Return what a node says that it has of a version, by who says so on each live path.

        Nothing of who sent a bad block of it, and has not sent it rightly since.
        """
        return claims_of_node(self._state, node, digest)

    def recovering(self) -> tuple[tuple[CheckpointName, Version], ...]:
        """Return the versions of jobs that are recovered here, for peers that recover them, too."""
        return tuple(
            (recovery.checkpoint, recovery.version)
            for recovery in self._state.recoveries.values()
            if recovery.joining.joint is not None and recovery.version is not None
        )

    def learned_rates(self, *, now: int) -> dict[PathId, LearnedRate]:
        """Return how fast each path delivers or once did, as far as that is known."""
        links = ((peer.path, peer.link) for peer in self._state.peers.values())
        return self._state.learned.best(links, now=now)

    def supplies(self, digest: Digest, *, now: int) -> list[Supply]:
        """Return what a prediction for a version is based on."""
        return supplies_of(self._state, digest, now=now)

    def _take_in(self, step: Step, event: Event) -> None:
        match event:
            case IngressLimited():
                self._options = self._unlimited_options.paced(event.bytes_per_s)
                step.options = self._options
                step.note_room_everywhere()
            case TimePassed():
                pass
            case _:
                _HANDLERS[type(event)].take_in(step, event)


_ROOMS: Final = (
    transfers,
    claims,
    audits,
    blame,
    troubles,
    advance,
    collecting,
    joined,
    rival_choice,
    ending,
    placing_phases,
    restaging,
    prioritizing,
    needing,
)
_HANDLERS: Final = {handler.event: handler for room in _ROOMS for handler in room.HANDLERS}

assert {*_HANDLERS, IngressLimited, TimePassed} == set(get_args(Event)), "every event is taken in"
