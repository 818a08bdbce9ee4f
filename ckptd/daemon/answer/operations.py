"""What people and scripts ask of the daemon over the control socket."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from ckptd.control.messages.checkpoints import (
    CheckpointRow,
    PublishEvent,
    PublishRequest,
    PublishResult,
)
from ckptd.control.messages.daemon_status import ReloadResult, Status
from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.control.messages.peers import PeerRow, PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedRequest,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.messages.recoveries import RecoverRequest, RecoveryView
from ckptd.control.messages.recovery_results import RecoveryProgress, WatchEvent
from ckptd.core.events import (
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryResumed,
)
from ckptd.daemon.answer import descriptions, explaining
from ckptd.daemon.answer.planning import Planner
from ckptd.daemon.answer.prioritization import Prioritization
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import NotFound
from ckptd.limits import NODE_ID_BYTES_MAX, SECOND
from ckptd.model.ids import (
    NodeId,
    RecoveryId,
    parse_checkpoint_name,
    parse_version,
)
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import usual_target
from ckptd.store.published.publishing import HashingProgress, PublishOrder, scan_and_hash
from ckptd.store.records.journal import JournaledRecovery

_PROGRESS_S: Final = 1.0
"""How often a stream tells how far it is."""

_NAMES_MAX: Final = 20
"""How many peers an error names."""

_log = get_logger()


class DaemonOperations:
    """The daemon behind the control socket: a method for each row that is not about watching it.

    See :mod:`ckptd.control.routes`.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        limiting: All limits.
        root_watch: How the roots are.
        facts: Gives the daemon's own part of the status.
        reload: Reads the configuration again.
    """

    def __init__(
        self,
        parts: Parts,
        recovering: Recovering,
        limiting: Limiting,
        root_watch: RootWatch,
        facts: Callable[[], descriptions.DaemonFacts],
        reload: Callable[[], Awaitable[ReloadResult]],
    ) -> None:
        storage = parts.storage
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._report = recovering.runtime.report
        self._now = recovering.runtime.now
        self._wall_clock = parts.wall_clock
        self._book = recovering.book
        self._catalog = storage.catalog
        self._journal = storage.journal
        self._shelf = storage.shelf
        self._policy = parts.policy
        self._peering = recovering.peering
        self._planner = Planner(recovering, storage)
        self._prioritization = Prioritization(recovering, storage)
        self._roots = storage.roots
        self._root_watch = root_watch
        self._limiting = limiting
        self._facts = facts
        self._reload = reload
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="publish")

    def status(self) -> Status:
        """Return the daemon at this moment."""
        active = [self._view(recovery) for recovery in self._book]
        roots = self._root_watch.states()
        return descriptions.status(self._facts(), active, self._catalog, self._peering, roots)

    def checkpoints(self) -> list[CheckpointRow]:
        """Return what this node and its peers hold, by name, newest version first."""
        return descriptions.checkpoints(
            self._facts().node, self._catalog, self._peering, self._roots
        )

    def peers(self) -> list[PeerRow]:
        """Return the known peers, by address."""
        return descriptions.peers(self._peering, self._scheduler.sources(now=self._now()))

    def peer(self, node: str) -> PeerView:
        """Return one peer."""
        snapshot = self._scheduler.peer(NodeId(node), now=self._now())
        if snapshot is None:
            known = [source.node for source in self._scheduler.sources(now=self._now())]
            more = f" and {len(known) - _NAMES_MAX} more" if len(known) > _NAMES_MAX else ""
            raise NotFound(
                f"peer {node[:NODE_ID_BYTES_MAX]!r}",
                "is not known",
                f"Known: {', '.join(known[:_NAMES_MAX])}{more}." if known else "None is yet.",
            )
        address = self._peering.address_of(snapshot.source.node)
        ahead_s = self._wall_clock() - self._now() / SECOND
        return descriptions.peer(snapshot, address, wall_clock_ahead_s=ahead_s)

    async def plan(self, request: PlanRequest) -> Plan:
        """Say what a recovery would do."""
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        return await self._planner.plan(checkpoint, version)

    def limits(self) -> LimitsView:
        """Return what is limited at this moment."""
        return self._limiting.view()

    def change_limits(self, request: ChangeLimits) -> LimitsView:
        """Set limits, or forget what was set."""
        return self._limiting.change(request)

    def recoveries(self) -> list[RecoveryView]:
        """Return those that have not ended and those that have, newest first."""
        active = [self._view(recovery) for recovery in self._book]
        ended = [descriptions.ended(record) for record in self._book.ended()]
        return [*reversed(active), *ended]

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        found = self._book.get(recovery)
        return self._view(found) if found else descriptions.ended(self._book.result(recovery))

    def explain(self, recovery: str) -> ExplanationView:
        """Say why a recovery goes as it does, or went."""
        found = self._book.get(recovery)
        if found is None:
            ended, told = self._book.result(recovery), self._book.story(recovery)
            if told is None:
                return explaining.forgotten(ended)
            return explaining.explanation(
                descriptions.ended(ended),
                told.explanation,
                taken_at_s=told.taken_at_s,
                message=ended.message,
            )
        known = self._scheduler.explain(found.id, now=self._now())
        assert known is not None, f"{found.id} is in the book and not in the scheduler"
        return explaining.explanation(self._view(found), known, taken_at_s=self._wall_clock())

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery; one for the same version and place that is under way is returned."""
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        root, target = self._roots.default(), ""
        if request.to is not None:
            root, target = self._roots.locate(request.to)
        elif version is not None:
            target = usual_target(checkpoint, version)
        for other in self._book:
            is_same = other.record.checkpoint == checkpoint and other.record.version == version
            if is_same and other.root is root and other.target == target:
                return self._view(other)
        record = JournaledRecovery(
            recovery=RecoveryId(f"r-{secrets.token_hex(6)}"),
            checkpoint=checkpoint,
            version=version,
            digest=None,
            root=root.name,
            target=target,
            patience_ns=None if request.patience_s is None else int(request.patience_s * SECOND),
            is_paused=False,
            started_at_s=self._wall_clock(),
            is_background=request.is_background,
        )
        await self._journal.begin(record)
        recovery = OpenRecovery(record, root, target)
        _log.info("recovery.started", recovery=recovery.id, checkpoint=checkpoint, version=version)
        self._recovering.begin(recovery)
        return self._view(recovery)

    async def pause(self, recovery: str) -> RecoveryView:
        """Let a recovery stand still until it is resumed."""
        return await self._set_paused(recovery, is_paused=True)

    async def resume(self, recovery: str) -> RecoveryView:
        """Let a paused recovery go on."""
        return await self._set_paused(recovery, is_paused=False)

    async def cancel(self, recovery: str) -> RecoveryView:
        """Give a recovery up and remove what it has staged."""
        found = self._find(recovery)
        self._report(RecoveryCancelled(found.id))
        await found.ended.wait()
        return self.recovery(recovery)

    async def prioritize(self, recovery: str, request: PrioritizeRequest) -> Prioritized:
        """Let some units of a recovery go before all others."""
        return await self._prioritization.prioritize(self._find(recovery), request.pattern)

    def need(self, request: NeedRequest) -> AsyncGenerator[NeedEvent, None]:
        """Let one unit go before all others; yield progress, and last where it can be read."""
        return self._prioritization.need(request.path)

    async def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
        """Yield progress once a second, the first at once, and last exactly one result."""
        async for found in self._book.follow(recovery, _PROGRESS_S):
            yield RecoveryProgress(view=self._view(found))
        yield descriptions.result(self._book.result(recovery))

    async def publish(self, request: PublishRequest) -> AsyncGenerator[PublishEvent, None]:
        """Hash a directory and hold it; yield progress once a second, and last one result."""
        started_ns = self._now()
        order = PublishOrder(
            directory=request.directory,
            checkpoint=parse_checkpoint_name(request.checkpoint),
            version=parse_version(request.version),
            critical=request.critical,
            deferred=request.deferred,
            replace=request.replace,
        )
        root, relative = self._roots.locate(request.directory)
        progress = HashingProgress(0, 0, 0, 0)
        is_cancelled = threading.Event()

        def note(latest: HashingProgress) -> None:
            nonlocal progress
            progress = latest

        hashing = asyncio.get_running_loop().run_in_executor(
            self._hashing,
            lambda: scan_and_hash(
                root,
                relative,
                order,
                workers=os.cpu_count() or 1,
                on_progress=note,
                is_cancelled=is_cancelled.is_set,
            ),
        )
        try:
            while not hashing.done():
                await asyncio.wait({hashing}, timeout=_PROGRESS_S)
                yield descriptions.publish_progress(progress)
            hashed = hashing.result()
        finally:
            is_cancelled.set()
        known = self._catalog.find(order.checkpoint, order.version)
        # First, so that nobody finds the version before its signature.
        signatures = await asyncio.to_thread(self._policy.sign, hashed.encoded)
        await self._shelf.add(hashed.digest, signatures)
        held = await self._catalog.add(
            hashed,
            replace=order.replace,
            is_newest_counted=self._policy.counts(signatures, order.checkpoint),
        )
        is_new = known is None or known.holding.digest != held.holding.digest
        _log.info(
            "version.published",
            checkpoint=order.checkpoint,
            version=order.version,
            digest=held.holding.digest,
            is_new=is_new,
        )
        yield PublishResult(
            checkpoint=order.checkpoint,
            version=order.version,
            digest=held.holding.digest,
            size_bytes=held.holding.size_bytes,
            units=len(hashed.manifest.units),
            is_new=is_new,
            directory=root.absolute(held.directory),
            duration_s=round((self._now() - started_ns) / SECOND, 3),
        )

    async def reload(self) -> ReloadResult:
        """Read the configuration again and apply it."""
        return await self._reload()

    async def _set_paused(self, recovery: str, *, is_paused: bool) -> RecoveryView:
        found = self._find(recovery)
        await self._journal.set_paused(found.id, is_paused=is_paused)
        found.record = replace(found.record, is_paused=is_paused)
        self._report(RecoveryPaused(found.id) if is_paused else RecoveryResumed(found.id))
        return self.recovery(recovery)

    def _find(self, recovery: str) -> OpenRecovery:
        found = self._book.get(recovery)
        if found is None:
            ended = self._book.result(recovery)
            raise NotFound(f"recovery {recovery}", f"has ended already: {ended.result.value}")
        return found

    def _view(self, recovery: OpenRecovery) -> RecoveryView:
        snapshot = self._scheduler.recovery(recovery.id, now=self._now())
        assert snapshot is not None, f"{recovery.id} is in the book and not in the scheduler"
        lag_ns = int(self._facts().event_loop_lag_s * SECOND)
        share = self._limiting.shaper_share(is_background=recovery.record.is_background)
        load = descriptions.local_load(recovery, shaper_share=share, loop_lag_ns=lag_ns)
        return descriptions.recovery(
            snapshot,
            recovery,
            elapsed_s=self._wall_clock() - recovery.record.started_at_s,
            bottleneck=self._scheduler.bottleneck(recovery.id, load, now=self._now()),
        )
