"""The service that brings versions here: its parts, its beginning and its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from ckptd.config import Config
from ckptd.core.effects import Effect, EndRecovery
from ckptd.core.events import Event, JobRequest, RecoveryPaused, RecoveryRequested
from ckptd.core.options import HedgingOptions, LaneOptions, Options, RivalOptions
from ckptd.core.report.views import RecoverySnapshot
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.activating import Activating
from ckptd.daemon.recover.attribute_search import AttributeSearch
from ckptd.daemon.recover.coded_asking import CodedAsking
from ckptd.daemon.recover.elapsed import Elapsed
from ckptd.daemon.recover.examining import Examining
from ckptd.daemon.recover.fetching import Fetching
from ckptd.daemon.recover.following_up import FollowingUp
from ckptd.daemon.recover.interest import Asking
from ckptd.daemon.recover.keeping_warm import warm_bound
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.recover.milestones import Milestones
from ckptd.daemon.recover.orphans import remove_orphans
from ckptd.daemon.recover.own_versions import OwnVersions
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.recover.repairing import Repairing
from ckptd.daemon.recover.reuse import Reuse
from ckptd.daemon.recover.runner import Runner
from ckptd.daemon.recover.runtime import Note, Runtime
from ckptd.daemon.recover.staging_orders import StagingOrders
from ckptd.daemon.recover.terms import Terms
from ckptd.daemon.recover.widening import Widening
from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.settings.reloading import Switch
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.nearest import nearest_names
from ckptd.model.shards import WantedShards, parse_shards
from ckptd.model.words import PlaceMode
from ckptd.net.lane.buffers import BufferPool
from ckptd.observe.logs import get_logger
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.journal import JournaledRecovery
from ckptd.store.staging.block_files import Writing
from ckptd.store.staging.warmth import Warmth

_COMMIT_S: Final = 5.0
"""How long a stopping daemon commits what it has verified. Half of what a service manager is
promised (10 s)."""

_log = get_logger()


class Recovering:
    """All recoveries, and who works on them.

    Attributes:
        scheduler: Decides.
        runtime: Drives it.
        book: All recoveries.
        elapsed: How long they have been under way.
        milestones: What they have reached meanwhile.
        peering: Follows peers.
        manifests: Gets manifests.
        own: Knows what is here already.
        pool: Buffers for bodies.
        fetching: All lanes.
        asking: Lets holders know that somebody waits.
        attributes: Finds modes and times.
        terms: On which versions are taken in.
        staging: Works on the disks.
        repairing: Puts places right.
        widening: Lets recoveries bring more.
        activating: Lets links lead to versions.
        runner: Carries out orders.
        own_shards: Which shards of a job are this node's, as far as that is configured.
    """

    def __init__(self, parts: Parts, advertising: Advertising) -> None:
        config = parts.config
        self._node = config.node.id
        self._storage = parts.storage
        self._advertising = advertising
        # Random choices of the scheduler need not be secret, only differ between nodes.
        rng = Random(parts.epoch)  # noqa: S311
        lanes = LaneOptions(coded_max=len(os.sched_getaffinity(0)))
        self.scheduler = Scheduler(
            rng,
            Options(
                hedging=HedgingOptions(redundancy=config.recovery.redundancy),
                rivals=RivalOptions(on_conflict=config.recovery.on_conflict),
                lanes=lanes,
            ),
        )
        self.own_shards = _own_shards(config)
        self.runtime = Runtime(self.scheduler)
        self.book = RecoveryBook(self.runtime.now, parts.wall_clock)
        self.elapsed = Elapsed(
            parts.storage.elapsed, self.book, now=self.runtime.now, boot=parts.boot
        )
        self.milestones = Milestones(parts.storage.milestones, self.book, self.runtime.now)
        self.peering = Peering(
            config.node.id,
            config.discovery.peers,
            parts.transport.inquirer,
            self.runtime.report,
            rng,
        )
        self.peering.distrust(
            lambda origin: self.scheduler.is_distrusted(origin, now=self.runtime.now())
        )
        self.manifests = Manifests(
            parts.policy, self.peering, parts.transport.inquirer, parts.storage
        )
        self.own = OwnVersions(
            parts.storage, Reuse(config.reuse.across), has_bases=config.transport.coding
        )
        self.attributes = AttributeSearch(
            parts.policy, self.peering, parts.transport.inquirer, parts.storage
        )
        self.terms = Terms.of(config.recovery, parts.owners)
        self.staging = StagingOrders(
            parts.storage,
            self.book,
            self.own,
            advertising,
            Writing(config.recovery.write_mode, Warmth(warm_bound(config.recovery))),
            self.attributes,
            self.terms,
            parts.wall_clock,
        )
        self.pool = BufferPool(config.recovery.buffers_bytes)
        examining = Examining(
            self.manifests, parts.policy, self.peering, parts.transport, self.pool
        )
        self.coded = CodedAsking(
            lambda source, digest: self.scheduler.claim(source, digest) is not None,
            self.runtime.now,
            is_on=config.transport.coding,
            lanes_max=min(lanes.coded_max, lanes.per_source_max),
        )
        self.fetching = Fetching(
            parts.transport,
            self.pool,
            self.book,
            self.peering,
            disk_calls=self.staging.disk_calls,
            report=self.runtime.report,
            note_wrong=self.own.note_wrong,
            claim=self.scheduler.claim,
            coded=self.coded,
        )
        self.peering.on_left = self.fetching.cut
        self.staging.factors = lambda recovery: self.coded.factors(
            recovery.record.checkpoint, recovery.base_digests
        )
        self.staging.report = self.runtime.report
        self.asking = Asking(self.snapshots, self.peering.peers, parts.transport.inquirer)
        self.repairing = Repairing(parts.storage, self.book, self.begin, parts.wall_clock)
        self.widening = Widening(
            self.scheduler.stages,
            self.own.standing_at,
            parts.storage.journal,
            self.runtime.report,
        )
        self.activating = Activating(
            parts.storage.catalog,
            parts.storage.roots,
            config.recovery.current,
            parts.owners,
            parts.wall_clock,
        )
        self.runner = Runner(
            book=self.book,
            manifests=self.manifests,
            examining=examining,
            peering=self.peering,
            fetching=self.fetching,
            own=self.own,
            staging=self.staging,
            following_up=FollowingUp(
                self.book,
                parts.storage.journal,
                self.begin,
                parts.wall_clock,
            ),
            activating=self.activating,
            report=self.runtime.report,
            claim=self.scheduler.claim,
            milestones=self.milestones,
        )

    def connect(self, note: Note, note_end: Callable[[EndRecovery, EndedRecovery], None]) -> None:
        """Name who counts.

        Args:
            note: Given events with the orders that follow from them, see :meth:`Runtime.connect`.
            note_end: Given how a recovery ended, after the books are closed.
        """
        self.runner.on_ended = note_end

        def note_all(events: Sequence[Event], effects: Sequence[Effect]) -> None:
            note(events, effects)
            self._advertising.note_jobs(self.scheduler.recovering())

        self.runtime.connect(self.runner.carry_out, note_all)

    def prepare_peers(self, _: Config, new: Config) -> Switch:
        """Follow the list of peers; see :class:`LivePart`."""

        def switch() -> None:
            self.peering.change(new.discovery.peers)

        return switch

    def placed(self) -> dict[CheckpointName, dict[NodeId, Version]]:
        """Return which version of each job this node and live peers placed last, by node."""
        found = self.scheduler.placed(now=self.runtime.now())
        for each in self._storage.catalog.placed_jobs.counting():
            found.setdefault(each.job, {})[self._node] = each.version
        return found

    def prepare_jobs(self, _: Config, new: Config) -> Switch:
        """Follow which shards of jobs are this node's; see :class:`LivePart`."""

        def switch() -> None:
            self.own_shards = _own_shards(new)

        return switch

    def snapshots(self) -> tuple[RecoverySnapshot, ...]:
        """Return a view of every recovery that has not ended, oldest first."""
        return self.scheduler.recoveries(now=self.runtime.now())

    def begin(self, recovery: OpenRecovery, *, has_placed: bool = False) -> None:
        """Hand a recovery to the scheduler, a new one or one that a restart interrupted.

        Args:
            recovery: Which recovery.
            has_placed: It had placed some of its version, or had begun to.
        """
        self.book.open(recovery)
        self.elapsed.note_begun()
        record, catalog = recovery.record, self._storage.catalog
        family = self.own.family(record.checkpoint) if record.shards else (record.checkpoint,)
        self.runtime.report(
            RecoveryRequested(
                record.recovery,
                record.checkpoint,
                record.version,
                record.digest,
                record.patience_ns,
                record.is_background,
                catalog.newest_ever(record.checkpoint),
                own=self.own.holdings(*family),
                digest_prefix=record.digest_prefix,
                from_node=record.from_node,
                had=frozenset().union(*map(catalog.had, family)),
                copied=frozenset().union(*map(catalog.copied, family)),
                withdrawn=frozenset().union(*map(catalog.withdrawn, family)),
                allow_partial=record.allow_partial,
                is_name_awaited=record.is_name_awaited,
                is_on_demand=record.is_on_demand,
                own_names=self._names_like(record.checkpoint),
                is_named=record.is_named,
                job=_job_of(recovery),
                is_by_choice=bool(record.choice),
                reached=recovery.reached,
                is_progressive=record.place is PlaceMode.PROGRESSIVE,
                has_placed=has_placed,
            )
        )
        if record.is_paused:
            self.runtime.report(RecoveryPaused(record.recovery))

    def _names_like(self, checkpoint: CheckpointName) -> tuple[CheckpointName, ...]:
        """Return the checkpoints of this node that are spelled most like one."""
        own = {held.holding.checkpoint for held in self._storage.catalog.versions()}
        return tuple(map(CheckpointName, nearest_names(checkpoint, own)))

    async def go_on(self) -> None:
        """Take up what a restart interrupted."""
        for ended in reversed(await self._storage.journal.ended()):
            self.book.remember(ended)
        asked_ns, now = await self.elapsed.load(), self.runtime.now()
        for record in await self._storage.journal.unfinished():
            _log.info("recovery.resumed", recovery=record.recovery, checkpoint=record.checkpoint)
            await self._storage.catalog.see_family(record.checkpoint)
            since_ns = asked_ns.get(record.recovery, now)
            root = self._storage.roots[record.root]
            members = await self._members(record)
            reached = await self.milestones.of(record.recovery, record.digest, since_ns)
            recovery = OpenRecovery(
                record, root, record.target, since_ns, members=members, reached=reached
            )
            if record.version is not None:
                recovery.settle_target(
                    *self.own.target_of(record.checkpoint, record.version, record.digest)
                )
            has_placed = await self._storage.placed_units.is_any(record.recovery)
            self.begin(recovery, has_placed=has_placed)

    async def _members(self, record: JournaledRecovery) -> tuple[Digest, ...]:
        """Return which shards a recovery of a job had joined, in ascending order of the shards."""
        if not record.shards:
            return ()
        try:
            return await self._storage.journal.members(record.recovery)
        except CkptdError as error:  # then they are fetched once more
            _log.warning("recovery.members_lost", recovery=record.recovery, why=str(error))
            return ()

    async def remove_orphans(self) -> None:
        """Remove staging that nobody will come back to."""
        await remove_orphans(self._storage, self.book)

    def pause(self) -> None:
        """Let every recovery stand still; not in the journal, so that the next life goes on."""
        for recovery in self.book:
            self.runtime.report(RecoveryPaused(recovery.id))

    async def drain(self) -> None:
        """Wait until what is verified is in the journal; the scheduler orders that itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_S):
                await self.runtime.wait_until(
                    lambda: all(recovery.is_committed for recovery in self.snapshots())
                )


def _own_shards(config: Config) -> dict[CheckpointName, WantedShards]:
    return {CheckpointName(job): parse_shards(said.shards) for job, said in config.jobs.items()}


def _job_of(recovery: OpenRecovery) -> JobRequest | None:
    """Return which shards of a job a recovery is for; ``None``: it is for a checkpoint."""
    if not recovery.record.shards:
        return None
    wanted = parse_shards(recovery.record.shards)
    return JobRequest(wanted.numbers, wanted.count, recovery.members)
