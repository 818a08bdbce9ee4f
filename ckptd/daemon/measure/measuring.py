"""The service that counts: it notes what happens, and shows it on the page of metrics."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NoReturn

from ckptd.config import Address
from ckptd.core.effects import Effect, EndRecovery
from ckptd.core.events import Event
from ckptd.daemon.audit.auditing import Auditing
from ckptd.daemon.copying.seen import COPY_METRICS, CopyingSeen
from ckptd.daemon.host.activation import METRICS
from ckptd.daemon.host.root_watch import ROOT_METRICS, RootWatch
from ckptd.daemon.keep.keeping import KEEP_METRICS, Keeping
from ckptd.daemon.keep.reads import READ_METRICS
from ckptd.daemon.keep.saves_seen import SAVE_METRICS, SavesSeen
from ckptd.daemon.limit.limiting import LIMIT_METRICS, THROTTLE_METRICS, Limiting
from ckptd.daemon.measure.capacity import CAPACITY_METRICS, PLACE_METRICS
from ckptd.daemon.measure.conflicts import CONFLICT_METRICS, ConflictWatch
from ckptd.daemon.measure.copies_watch import CopiesWatch
from ckptd.daemon.measure.freshness import FRESHNESS_METRICS, Freshness
from ckptd.daemon.measure.loop_lag import LAG_METRICS, LagWindow, watch_loop_lag
from ckptd.daemon.measure.outrunning import outrun_by
from ckptd.daemon.measure.page_listener import serve_metrics
from ckptd.daemon.measure.page_rows import (
    BOTTLENECK_METRICS,
    CONNECTION_METRICS,
    CONTROL_METRICS,
    HELD_UP_METRICS,
    HOLDING_METRICS,
    LOG_METRICS,
    REFUSAL_METRICS,
    REPAIR_METRICS,
    SOURCE_METRICS,
)
from ckptd.daemon.measure.placing import PLACING_METRICS
from ckptd.daemon.measure.quarantines import QUARANTINE_METRICS
from ckptd.daemon.measure.recovery_totals import (
    RECOVERY_METRICS,
    WASTE_METRICS,
    RecoveriesSeen,
    StageTimes,
    Totals,
)
from ckptd.daemon.measure.standstills import Standstills
from ckptd.daemon.measure.transfer_times import RECEIVED_METRICS, TRANSFER_METRICS, TransferTimes
from ckptd.daemon.measure.workload_metrics import WORKLOAD_METRICS, WorkloadSeen
from ckptd.daemon.measure.workloads import Workloads
from ckptd.daemon.measure.works import WORK_METRICS, Works
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.absorbing import absorbing_of
from ckptd.daemon.recover.activations import ACTIVE_METRICS
from ckptd.daemon.recover.coded_asking import CODED_METRICS
from ckptd.daemon.recover.keeping_warm import WARM_METRICS
from ckptd.daemon.recover.local_load import local_load
from ckptd.daemon.recover.peering import DISCOVERY_METRICS, PEER_METRICS
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.outcomes import RETENTION_METRICS, RetentionSeen
from ckptd.daemon.serve.block_questions import QUESTION_METRICS
from ckptd.daemon.serve.content import CONTENT_METRICS
from ckptd.daemon.serve.serving_peers import CODED_BLOCK_METRICS, UNSERVED_METRICS, Serving
from ckptd.daemon.settings.own_identity import identity_metrics
from ckptd.daemon.settings.reloading import RELOAD_METRICS, ReloadState
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.holdings import Holding
from ckptd.model.ids import RecoveryId
from ckptd.model.words import (
    PeerState,
    RangeOutcome,
    RefusalReason,
    Result,
)
from ckptd.model.workload_judgements import OutrunJudgement
from ckptd.observe.logs import Log, get_logger
from ckptd.observe.metrics import (
    MetricGroup,
    build_info,
    create_registry,
    render,
)
from ckptd.store.published.places import count_by_state
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.moments import FirstHeard, Successes

LOOK_S: Final = 10.0
"""How often versions and peers are looked at: the scrape interval of deploy/prometheus."""

_log = get_logger()


class Measuring:
    """Everything that is counted, and the page that shows it.

    Attributes:
        copies: Counts copies.
        conflicts: Looks for versions with several contents.
        retention: What retention did, and what it saw last.
        saves: Returns what became of saves in watched directories.
        copying: What copying did, and what it saw last.
        workloads: What jobs that save do to this node.
    """

    def __init__(  # noqa: PLR0913 (what it looks at)
        self,
        parts: Parts,
        recovering: Recovering,
        serving: Serving,
        keeping: Keeping,
        limiting: Limiting,
        root_watch: RootWatch,
        *,
        auditing: Auditing,
        log: Log,
    ) -> None:
        catalog, peering = parts.storage.catalog, recovering.peering
        self._parts = parts
        self._catalog = catalog
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._peering = peering
        self._serving = serving
        self._keeping = keeping
        self._limiting = limiting
        self._root_watch = root_watch
        self._log = log
        self.retention = RetentionSeen()
        self.saves: Callable[[], SavesSeen] = SavesSeen
        self.copying = CopyingSeen()
        self._lag = LagWindow()
        self._totals = Totals()
        self._transfers = TransferTimes(self._is_background)
        self._stages = StageTimes()
        self._standstills = Standstills(lambda: self._scheduler.recoveries(now=self._now()))
        self._discovered_at_s = parts.wall_clock()
        self._works = Works(parts.wall_clock)
        self.copies = CopiesWatch(parts, peering, auditing, self._now)
        self.workloads = Workloads(
            parts.storage,
            lambda digest: [holding for _, holding in self._scheduler.claims(digest)],
            self._now,
            parts.wall_clock,
        )
        self._freshness = Freshness(
            held=catalog.holdings,
            of_peers=self._holdings_of_peers,
            now=recovering.runtime.now,
            boot=parts.boot,
            wall_clock=parts.wall_clock,
        )
        self.conflicts = ConflictWatch(
            parts.config.node.id,
            lambda: [
                (parts.config.node.id, catalog.holdings()),
                *self._scheduler.said(now=self._now()),
            ],
        )
        self._written: tuple[Successes, FirstHeard] = ({}, {})
        self._control_requests: Counter[tuple[str, int]] = Counter()

    def note(self, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Take in the events of the scheduler and what it ordered."""
        now = self._now()
        self._transfers.note(events, effects, now=now)
        self.workloads.note(events)
        for recovery, stage in self._stages.note(self._scheduler.stages(), now=now):
            _log.info("recovery.stage", recovery=recovery, stage=stage.value)

    def note_end(self, effect: EndRecovery, ended: EndedRecovery) -> None:
        """Take in how a recovery ended."""
        self._totals.note_end(effect, ended)
        self._works.note_recovery(ended.result)
        self.workloads.note_ended(ended)
        _log.info(
            "recovery.ended",
            recovery=ended.recovery,
            result=ended.result.value,
            checkpoint=ended.checkpoint,
            version=ended.version,
            received_bytes=ended.received_bytes,
            resumed_bytes=ended.resumed_bytes,
            local_bytes=ended.local_bytes,
            reused_bytes=ended.reused_bytes,
            kept_warm_bytes=ended.kept_warm_bytes,
            wasted_bytes=ended.wasted_bytes,
            duration_s=ended.duration_s,
            why=ended.message,
        )

    def note_publish(self, result: Result, duration_ns: int) -> None:
        """Take in how a directory was published, or was not."""
        self._works.note_publish(result, duration_ns)

    def outrun(self) -> Sequence[OutrunJudgement]:
        """Return which jobs save faster than this node hashes and copies, as far as was seen."""
        config, limits = self._parts.config, self._limiting.effective()
        return outrun_by(self.workloads.joint(), config, limits, now_s=self._parts.wall_clock())

    async def load(self) -> None:
        """Take over the moments that an earlier life of the daemon knew; before the first look.

        Raises:
            CkptdError: The database refuses.
        """
        self._written = await self._parts.storage.moments.load()
        successes, first_heard = self._written
        self._works.take_over(successes)
        self._freshness.take_over(first_heard)
        await self.workloads.load()

    async def write(self) -> None:
        """Write down what is new. If the disk refuses, that is logged."""
        await self.workloads.write()
        moments = dict(self._works.succeeded_at_s), dict(self._freshness.known())
        if moments == self._written:
            return
        try:
            await self._parts.storage.moments.write(*moments)
        except CkptdError as error:
            _log.warning("moments.not_kept", why=str(error))
        else:
            self._written = moments

    async def watch_lag(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        await watch_loop_lag(self._lag)

    async def run(self) -> None:
        """Look at what is held and at what stands still, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look())
            tasks.create_task(self._standstills.run())
            tasks.create_task(self.workloads.run())

    async def listen(
        self,
        stack: AsyncExitStack,
        *,
        reloaded: Callable[[], ReloadState],
        obstacle: Callable[[], str],
    ) -> str | None:
        """Serve the page for Prometheus and the two for health checks.

        Args:
            stack: Closes the listener.
            reloaded: Returns how the configuration was read last.
            obstacle: Returns why the daemon is not ready; empty if it is.

        Returns:
            The address; ``None`` if the pages are switched off.

        Raises:
            CkptdError: The address cannot be listened on.
        """
        listen = self._parts.config.listen.metrics
        if listen is None:
            return None
        registry = create_registry(self._metrics(reloaded))
        host, port = await stack.enter_async_context(
            serve_metrics(
                listen.host,
                listen.port,
                names=(socket.gethostname(),),
                render=lambda: render(registry),
                obstacle=obstacle,
                inherited=self._parts.sockets.get(METRICS),
            )
        )
        return str(Address(host, port))

    async def _look(self) -> NoReturn:
        """Look at versions and peers now and then, until cancelled."""
        while True:
            await self.copies.refresh()
            self._freshness.look()
            await self.conflicts.look()
            await self.write()
            await asyncio.sleep(LOOK_S)

    def _is_background(self, recovery: RecoveryId) -> bool:
        opened = self._recovering.book.get(recovery)
        return opened is not None and opened.record.is_background

    def note_answer(self, route: str, code: int) -> None:
        """Count an answer on the control socket."""
        self._control_requests[route, code] += 1

    def lag_s(self) -> float:
        """Return the worst lag of the event loop in the last ten seconds."""
        return self._lag.worst_ns(now=time.monotonic_ns()) / SECOND

    def _metrics(self, reloaded: Callable[[], ReloadState]) -> tuple[MetricGroup[Any], ...]:
        """Return the rows of every owner, in the order of the page."""
        return (
            build_info("uvloop"),
            MetricGroup(self._catalog.holdings, HOLDING_METRICS),
            MetricGroup(lambda: len(self._catalog.versions()), CAPACITY_METRICS),
            MetricGroup(lambda: count_by_state(self._catalog.versions()), PLACE_METRICS),
            MetricGroup(self._recovering.activating.counts, ACTIVE_METRICS),
            *self.copies.metrics(),
            MetricGroup(lambda: self.retention, RETENTION_METRICS),
            MetricGroup(lambda: self.copying, COPY_METRICS),
            MetricGroup(self._freshness.seen, FRESHNESS_METRICS),
            MetricGroup(lambda: self.conflicts.conflicts, CONFLICT_METRICS),
            MetricGroup(self._recovering.placed, PLACING_METRICS),
            MetricGroup(self._keeping.keep, KEEP_METRICS),
            MetricGroup(self.saves, SAVE_METRICS),
            MetricGroup(lambda: self._keeping.reads, READ_METRICS),
            MetricGroup(lambda: self._recovering.staging.repaired_units, REPAIR_METRICS),
            MetricGroup(lambda: self._recovering.staging.warm.kept_bytes, WARM_METRICS),
            MetricGroup(self._root_watch.states, ROOT_METRICS),
            MetricGroup(lambda: self._works, WORK_METRICS),
            MetricGroup(self._workload, WORKLOAD_METRICS),
            MetricGroup(self._recoveries_seen, RECOVERY_METRICS),
            MetricGroup(self._bottlenecks, BOTTLENECK_METRICS),
            MetricGroup(self._held_up, HELD_UP_METRICS),
            MetricGroup(lambda: self._transfers, RECEIVED_METRICS),
            MetricGroup(lambda: self._recovering.coded.came, CODED_METRICS),
            MetricGroup(lambda: self._serving.coded_blocks, CODED_BLOCK_METRICS),
            MetricGroup(lambda: self._serving.content.sent_bytes, CONTENT_METRICS),
            MetricGroup(lambda: self._serving.content.questions, QUESTION_METRICS),
            MetricGroup(self._recoveries_seen, WASTE_METRICS),
            MetricGroup(lambda: self._transfers, TRANSFER_METRICS),
            MetricGroup(
                lambda: {
                    "source": self._serving.listener.connection_count,
                    "receiver": self._recovering.fetching.lane_count,
                },
                CONNECTION_METRICS,
            ),
            MetricGroup(self._limiting.effective, LIMIT_METRICS),
            MetricGroup(self._limiting.throttled_s, THROTTLE_METRICS),
            MetricGroup(lambda: self._scheduler.sources(now=self._now()), SOURCE_METRICS),
            MetricGroup(lambda: self._scheduler.quarantine_count, QUARANTINE_METRICS),
            MetricGroup(self._peering.peers, PEER_METRICS),
            MetricGroup(self._discovery_success_s, DISCOVERY_METRICS),
            MetricGroup(self._refusals_by_reason, REFUSAL_METRICS),
            MetricGroup(lambda: self._serving.unserved, UNSERVED_METRICS),
            *identity_metrics(self._parts.transport.identity),
            MetricGroup(reloaded, RELOAD_METRICS),
            MetricGroup(lambda: self._control_requests, CONTROL_METRICS),
            MetricGroup(lambda: self._log.suppressed, LOG_METRICS),
            MetricGroup(lambda: self._lag, LAG_METRICS),
        )

    def _recoveries_seen(self) -> RecoveriesSeen:
        now = self._now()
        active = self._scheduler.recoveries(now=now)
        return RecoveriesSeen(
            active=active,
            totals=self._totals.with_active(active),
            stage_seconds=self._stages.seconds(now=now),
            elapsed_ns=max((now - each.since_ns for each in self._recovering.book), default=0),
            bytes_by_class=self._scheduler.bytes_by_class(),
        )

    def _workload(self) -> WorkloadSeen:
        absorbed = absorbing_of(self._recovering).brought_bytes_per_s
        return self.workloads.seen()._replace(absorbed_bytes_per_s=absorbed)

    def _held_up(self) -> int:
        """Return how many recoveries wait for something that this node is short of."""
        return sum(each.is_short for each in self._scheduler.recoveries(now=self._now()))

    def _bottlenecks(self) -> dict[str, int]:
        """Return how many recoveries are bound by what."""
        now, lag_ns = self._now(), self._lag.worst_ns(now=time.monotonic_ns())
        counts: Counter[str] = Counter()
        for opened in self._recovering.book:
            share = self._limiting.shaper_share(is_background=opened.record.is_background)
            load = local_load(opened, shaper_share=share, loop_lag_ns=lag_ns)
            bottleneck = self._scheduler.bottleneck(opened.id, load, now=now)
            if bottleneck is not None:
                counts[bottleneck.value] += 1
        return counts

    def _holdings_of_peers(self) -> Iterable[tuple[Holding, ...]]:
        return [said.holdings for said in self._peering.said().values()]

    def _refusals_by_reason(self) -> dict[str, int]:
        """Return whom this node turned away as a source, and what it did not take as a receiver."""
        misbehaved = self._transfers.outcomes[RangeOutcome.MISBEHAVED.value]
        turned_away = {each.value: count for each, count in self._serving.caps.refusals.items()}
        return {
            **turned_away,
            RefusalReason.ANSWER.value: self._parts.transport.inquirer.violations + misbehaved,
        }

    def _discovery_success_s(self) -> float:
        """Return when a configured peer was last seen to answer; without peers: now."""
        others = [peer for peer in self._peering.peers() if peer.state is not PeerState.SELF]
        if not others or any(peer.state is PeerState.LIVE for peer in others):
            self._discovered_at_s = self._parts.wall_clock()
        return self._discovered_at_s
