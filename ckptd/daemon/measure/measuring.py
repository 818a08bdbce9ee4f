"""Takes the snapshot that a scrape asks for, and notes what it needs on the way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NoReturn

from ckptd.control.messages.api import RecoveryResult
from ckptd.core.effects import Effect, EndRecovery
from ckptd.core.events import Event
from ckptd.core.explain.prediction import needs_of
from ckptd.core.report.views import RecoverySnapshot
from ckptd.core.scheduler import Scheduler
from ckptd.core.state.recovery import Recovery
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.measure.freshness import Freshness
from ckptd.daemon.measure.loop_lag import LagWindow
from ckptd.daemon.measure.redundancy import Redundancy
from ckptd.daemon.measure.transfer_times import StageTimes, Totals, TransferTimes
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.runner import Runner
from ckptd.daemon.serve.content import ServedContent
from ckptd.daemon.settings.reloading import ReloadState
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import PeerState, RangeOutcome, RefusalReason
from ckptd.net.connection.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.net.source.listener import Listener
from ckptd.observe.logs import Log, get_logger
from ckptd.observe.metrics import MetricsSnapshot
from ckptd.store.published.catalog import Catalog

_WAITING_LOOK_S: Final = 1.0
"""How often recoveries are looked at for one that stands still."""

_log = get_logger()


class Measuring:
    """Everything that is counted.

    Attributes:
        control_requests: Answers on the control socket by route and status.
        freshness: How old the newest versions are.
        redundancy: How many nodes could give the critical units back.
    """

    def __init__(  # noqa: PLR0913 (what it looks at, each named)
        self,
        *,
        scheduler: Scheduler,
        now: Callable[[], int],
        wall_clock: Callable[[], float],
        catalog: Catalog,
        content: ServedContent,
        listener: Listener,
        peering: Peering,
        roots: RootWatch,
        inquirer: Inquirer,
        refusals: Mapping[RefusalReason, int],
        identity: Identity | None,
        limiting: Limiting,
        lag: LagWindow,
        log: Log,
    ) -> None:
        self._scheduler = scheduler
        self._now = now
        self._wall_clock = wall_clock
        self._catalog = catalog
        self._content = content
        self._listener = listener
        self._peering = peering
        self._roots = roots
        self._inquirer = inquirer
        self._refusals = refusals
        self._identity = identity
        self._limiting = limiting
        self._lag = lag
        self._log = log
        self._totals = Totals()
        self._transfers = TransferTimes()
        self._stages = StageTimes()
        self._waiting: set[str] = set()
        self._discovered_at_s = wall_clock()
        self.redundancy = Redundancy(catalog)
        self.freshness = Freshness(
            held=catalog.holdings,
            of_peers=lambda: (
                peer.holdings.holdings for peer in peering.peers() if peer.holdings is not None
            ),
            clock=lambda: now() / SECOND,
        )
        self.control_requests: Counter[tuple[str, int]] = Counter()

    def note(self, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Take in what the scheduler was told and what it ordered."""
        now = self._now()
        self._transfers.note(events, effects, now=now)
        active = self._scheduler.state.recoveries.values()
        for recovery, stage in self._stages.note(
            ((known.id, known.stage) for known in active), now=now
        ):
            _log.info("recovery.stage", recovery=recovery, stage=stage.value)

    def note_end(self, effect: EndRecovery, result: RecoveryResult) -> None:
        """Take in how a recovery ended."""
        self._totals.note_end(effect, result)

    async def watch_waiting(self) -> NoReturn:
        """Say when recoveries stand still and when they go on, until cancelled."""
        while True:
            self._note_waiting(self._scheduler.recoveries(now=self._now()))
            await asyncio.sleep(_WAITING_LOOK_S)

    def _note_waiting(self, active: Iterable[RecoverySnapshot]) -> None:
        current = {}
        for recovery in active:
            if recovery.waiting_for:
                current[recovery.recovery] = recovery
            elif recovery.recovery in self._waiting:
                _log.info("recovery.moving", recovery=recovery.recovery)
        for name, recovery in current.items():
            if name not in self._waiting:
                _log.warning("recovery.waiting", recovery=name, why=recovery.waiting_for)
        self._waiting = set(current)

    def note_answer(self, route: str, code: int) -> None:
        """Count an answer on the control socket."""
        self.control_requests[route, code] += 1

    def lag_s(self) -> float:
        """Return the worst lag of the event loop in the last ten seconds."""
        return self._lag.worst_ns(now=time.monotonic_ns()) / SECOND

    def snapshot(self, runner: Runner, reloaded: ReloadState) -> MetricsSnapshot:
        """Return everything at this moment."""
        identity = self._identity
        now = self._now()
        active = self._scheduler.recoveries(now=now)
        totals = self._totals.with_active(active)
        holdings = self._catalog.holdings()
        roots = self._roots.states()
        peers = self._peering.peers()
        remaining = [recovery.total_bytes - recovery.verified_bytes for recovery in active]
        units_done = sum(recovery.units_done for recovery in active)
        units = sum(recovery.units_total for recovery in active)
        return MetricsSnapshot(
            loop="uvloop",
            holdings=len(holdings),
            held_bytes=sum(holding.size_bytes for holding in holdings),
            critical_unit_sources_min=self.redundancy.sources_min(
                peer.holdings.holdings for peer in peers if peer.holdings is not None
            ),
            recoveries_active=len(active),
            recoveries_by_result=totals.results,
            recovery_durations=totals.durations,
            critical_durations=totals.critical_durations,
            recovery_elapsed_s=max((each.elapsed_ns for each in active), default=0) / SECOND,
            recovery_eta_s=_eta_s(active),
            recovery_remaining_bytes=sum(remaining),
            recovery_units_by_state={"done": units_done, "missing": units - units_done},
            recovery_bytes=_bytes_by_class(self._scheduler.state.recoveries.values()),
            stage_seconds=self._stages.seconds(now=now),
            received_bytes={
                ("peer", label): size for label, size in self._transfers.received_bytes.items()
            },
            sent_bytes_by_criticality=self._content.sent_bytes,
            resumed_bytes=totals.resumed_bytes,
            wasted_bytes_by_reason=totals.wasted_bytes,
            hedges=totals.hedges,
            transfers_by_outcome=self._transfers.outcomes,
            range_durations=self._transfers.ranges,
            first_byte_durations=self._transfers.first_bytes,
            verify_failures_by_source_kind={"peer": totals.bad_blocks},
            sources_by_state=Counter(
                source.state.value for source in self._scheduler.sources(now=now)
            ),
            peers_by_state=Counter(peer.state.value for peer in peers),
            discovery_success_s={"static": self._discovery_success_s()},
            refusals_by_reason=self._refusals_by_reason(),
            newest_manifest_age_s=self.freshness.ages_s(),
            connections_by_side={
                "source": self._listener.connection_count,
                "receiver": runner.lane_count,
            },
            disk_bytes_by_root=_known((root.name, root.size_bytes) for root in roots),
            disk_free_bytes_by_root=_known((root.name, root.free_bytes) for root in roots),
            is_root_usable={root.name: not root.obstacle for root in roots},
            limits_bytes_per_s={
                (key.direction.value, "total" if key.urgency is None else key.urgency.label): rate
                for key, rate in self._limiting.effective().items()
                if not key.peer
            },
            throttled_s={
                (direction.value, urgency.label): waited_s
                for (direction, urgency), waited_s in self._limiting.throttled_s().items()
            },
            control_requests=self.control_requests,
            log_lines_suppressed=self._log.suppressed,
            event_loop_lag_s=self.lag_s(),
            event_loop_lags=self._lag.lags,
            is_reload_successful=reloaded.is_successful,
            reload_succeeded_at_s=reloaded.succeeded_at_s,
            handshake_failures={} if identity is None else identity.handshakes.failures,
            certificates_not_after_s={} if identity is None else identity.not_after_s,
        )

    def _refusals_by_reason(self) -> dict[str, int]:
        """Return whom this node turned away as a source, and what it did not take as a receiver."""
        misbehaved = self._transfers.outcomes[RangeOutcome.MISBEHAVED.value]
        turned_away = {each.value: count for each, count in self._refusals.items()}
        return {**turned_away, RefusalReason.ANSWER.value: self._inquirer.violations + misbehaved}

    def _discovery_success_s(self) -> float:
        """Return when a configured peer was last seen to answer; without peers: now."""
        others = [peer for peer in self._peering.peers() if peer.state is not PeerState.SELF]
        if not others or any(peer.state is PeerState.LIVE for peer in others):
            self._discovered_at_s = self._wall_clock()
        return self._discovered_at_s


def _eta_s(active: Sequence[RecoverySnapshot]) -> float | None:
    etas = [recovery.eta_ns for recovery in active]
    known = [eta for eta in etas if eta is not None]
    return max(known, default=0) / SECOND if len(known) == len(etas) else None


def _bytes_by_class(recoveries: Iterable[Recovery]) -> dict[tuple[str, str], int]:
    """Add up what has come and what is missing, of recoveries whose manifest is here."""
    sizes: Counter[tuple[str, str]] = Counter()
    for recovery in recoveries:
        if recovery.space is None:
            continue
        missing = BlockSet.full(recovery.space.block_count) - recovery.verified
        for state, blocks in (("done", recovery.verified), ("missing", missing)):
            for need in needs_of(recovery.space, recovery.class_ends, blocks):
                assert need.criticality is not None
                sizes[state, need.criticality.label] += need.size_bytes
    return dict(sizes)


def _known(sizes: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    """Leave out roots whose disk does not answer."""
    return {name: size for name, size in sizes if size is not None}
