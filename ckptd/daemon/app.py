"""Puts the daemon together, runs it, and takes it apart again in good order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

import uvloop

from ckptd import __version__
from ckptd.config import Config
from ckptd.control.messages.daemon_status import ListenAddresses
from ckptd.control.server.dispatch import serve_control
from ckptd.daemon.answer.daemon_answers import DaemonFacts
from ckptd.daemon.answer.logged_orders import log_order
from ckptd.daemon.answer.service import open_answers
from ckptd.daemon.answer.watch_answers import WatchAnswers
from ckptd.daemon.audit.auditing import Auditing
from ckptd.daemon.doctor.components import components, forbidden_root
from ckptd.daemon.doctor.findings import Doctor
from ckptd.daemon.host.activation import CONTROL
from ckptd.daemon.host.allocator import give_back_long_pieces
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.host.shortages import ready_threads
from ckptd.daemon.host.supervision import feed_watchdog, more_time, reloading, report_status
from ckptd.daemon.host.systemd import Notifier
from ckptd.daemon.keep.keeping import Keeping
from ckptd.daemon.keep.passed_keeping import PassedKeeping
from ckptd.daemon.keep.taking_saves import TakingSaves
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.measure.measuring import Measuring
from ckptd.daemon.measure.rate_memory import RateMemory
from ckptd.daemon.parts import Parts, open_parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.retention import Retention
from ckptd.daemon.serve.serving_peers import Serving
from ckptd.daemon.services import Service, run_services
from ckptd.daemon.settings.own_identity import following, keep_fresh, watch_validity
from ckptd.daemon.settings.reloading import LivePart, Reloading
from ckptd.daemon.settings.verbosity import Verbosity
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.observe import logs

_YOUNG_OBJECTS_MAX: Final = 20_000
"""So many new objects are there before Python looks for cycles among them (by itself: after 700).
Records of units and files come by the ten thousand, and none is in a cycle."""

_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""For what must not block the event loop, and is short; as many as asyncio would have."""

_log = logs.get_logger()


def run(config: Config, *, load: Callable[[], Config], move_damaged_state: bool) -> int:
    """Run the daemon until it is asked to stop.

    Args:
        config: What it shall be.
        load: Reads the configuration again.
        move_damaged_state: A state database that cannot be read is moved aside.

    Returns:
        The exit code, 0.

    Raises:
        CkptdError: It cannot start; nothing was changed.
    """
    _spare_collector()
    give_back_long_pieces(config.environment)
    log = logs.configure(config.log.level, config.log.format, environ=config.environment)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config, load, log, move_damaged_state=move_damaged_state))
    return 0


def _spare_collector() -> None:
    """Let the cycle collector look at what comes, not at all modules and classes again and again.

    20,000 files of 16 KiB took 1.13 instead of 1.20 s, and a twentieth less processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])


async def _run(
    config: Config, load: Callable[[], Config], log: logs.Log, *, move_damaged_state: bool
) -> None:
    notifier = Notifier.from_environment(config.environment)

    def start_threads() -> None:
        asyncio.get_running_loop().set_default_executor(ready_threads(_THREADS, "daemon"))

    async with AsyncExitStack() as stack:
        with more_time(notifier):
            parts = await open_parts(
                config,
                stack,
                wall_clock=time.time,
                move_damaged_state=move_damaged_state,
                when_confined=start_threads,
            )
            serving = Serving(parts, stack)
        try:
            await Daemon(parts, serving, load, log, notifier, stack).run()
        except ExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], CkptdError):
                raise group.exceptions[0] from None  # a listener that cannot be had
            raise


class Daemon:
    """All services, and how they are tied together."""

    def __init__(
        self,
        parts: Parts,
        serving: Serving,
        load: Callable[[], Config],
        log: logs.Log,
        notifier: Notifier,
        stack: AsyncExitStack,
    ) -> None:
        config = parts.config
        self._parts = parts
        self._serving = serving
        self._notifier = notifier
        self._stack = stack
        self._started_at_s = parts.wall_clock()  # a date
        self._started_ns = time.monotonic_ns()
        self._obstacle = "starting"
        self._stop = asyncio.Event()
        self._hang_up = asyncio.Event()
        self._metrics_address: str | None = None
        self._root_watch = RootWatch(parts.storage.roots)
        self._recovering = Recovering(parts, serving.advertising)
        self._auditing = Auditing(parts, self._recovering)
        self._keeping = Keeping(parts, is_busy=self._is_busy)
        self._taking = TakingSaves(
            parts,
            is_busy=self._is_busy,
            watching=self._keeping.looking.watching,
            offer_changed=serving.advertising.changed,
        )
        storage = parts.storage
        self._passed = PassedKeeping(storage.catalog, storage.roots, storage.passed)
        storage.roots.passed.on_kept = notifier.keep_open
        storage.roots.passed.on_closed = notifier.let_close
        self._recovering.activating.look = self._keeping.looking.look_at
        if config.scrub.repair:
            self._keeping.reads.on_rotten = self._recovering.repairing.note_rot
        serving.connect(self._recovering.peering.asked_by)
        self._keeping.connect(serving.content)
        runtime = self._recovering.runtime
        self._limiting = Limiting(
            config.limits, parts.transport.throttles, runtime.report, parts.wall_clock
        )
        self._measuring = Measuring(
            parts,
            self._recovering,
            serving,
            self._keeping,
            self._limiting,
            self._root_watch,
            auditing=self._auditing,
            log=log,
        )
        self._retention = Retention(
            parts,
            self._recovering,
            serving.advertising,
            note_let_go=self._measuring.copies.note_let_go,
            auditing=self._auditing,
            is_busy=self._is_busy,
        )
        serving.content.described = self._retention.leases.note_asked
        serving.content.sent = self._retention.leases.note_sent
        self._measuring.saves, self._measuring.retention = (
            self._taking.seen,
            self._retention.retaining.seen,
        )
        self._recovering.staging.could_free = self._retention.retaining.could_free
        self._recovering.connect(self._measuring.note, self._measuring.note_end)
        self._rate_memory = RateMemory(
            parts.storage.links,
            learned=lambda: self._recovering.coded.as_plain(
                self._recovering.scheduler.learned_rates(now=runtime.now())
            ),
            paths=self._recovering.peering,
            report=runtime.report,
            now=runtime.now,
            boot=parts.boot,
            wall_clock=parts.wall_clock,
        )
        verbosity = Verbosity(log, config.environment)
        self._reloading = Reloading(
            config,
            load=load,
            parts=(
                LivePart(("log",), verbosity.prepare),
                LivePart(("discovery.peers",), self._recovering.prepare_peers),
                LivePart(("jobs",), self._recovering.prepare_jobs),
                LivePart(("transport.congestion_control",), serving.prepare_congestion),
                LivePart(("limits",), self._limiting.prepare),
                LivePart(("control",), parts.access.prepare),
                LivePart(("signatures",), lambda old, new: parts.policy.prepare(new.signatures)),
                *following(parts.transport.identity),
            ),
            wall_clock=parts.wall_clock,
            while_reloading=lambda: reloading(notifier),
        )
        self._answers = open_answers(
            parts,
            self._recovering,
            self._keeping,
            self._limiting,
            self._root_watch,
            self._passed,
            retention=self._retention,
            taking=self._taking,
            advertising=serving.advertising,
            proofs=self._auditing.proofs,
            facts=self._facts,
            reload=self._reloading.reload,
            measuring=self._measuring,
        )
        self._measuring.copying = self._answers.copying.seen
        self._watching = WatchAnswers(
            log,
            verbosity,
            Doctor(
                parts,
                serving.address,
                self._recovering.peering,
                self._recovering.pool,
                note_rate=runtime.report,
                keep=self._keeping.keep,
                measured=self._measuring,
                audits=self._auditing.seen,
                paced=serving.paced,
                retained=lambda: self._retention.retaining.seen,
                recoveries=self._recovering.snapshots,
                unmet=self._answers.configured.unmet,
                copies=self._answers.copies.show,
                watched=self._taking.watched,
            ),
            obstacle=self._why_not_ready,
            components=lambda: components(
                self._recovering.peering, parts.storage.catalog, self._root_watch.states()
            ),
        )

    async def run(self) -> None:
        """Serve until a signal says stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up.set)
        self._root_watch.open()
        self._stack.callback(self._root_watch.close)
        await run_services(self._services(), until_drained=self._until_drained)
        _log.info("daemon.stopped")

    def _services(self) -> list[Service]:
        """Return everything that runs, in the order in which it starts."""
        identity, disk_calls = self._parts.transport.identity, self._recovering.staging.disk_calls
        services = [
            Service("attributes", run=self._recovering.attributes.run),
            Service("orders", run=self._recovering.runner.run),
            Service("loop lag", run=self._measuring.watch_lag),
            Service("limits", start=self._limiting.start, run=self._limiting.run),
            # Before anybody can ask about what is under way, or how long it will take.
            Service("rates", start=self._rate_memory.load, run=self._rate_memory.run),
            Service("moments", start=self._measuring.load),
            Service("retention", start=self._retention.leases.load),
            Service("proofs of audits", start=self._auditing.proofs.load),
            Service("configured recoveries", start=self._answers.configured.load),
            Service("passed files", start=self._passed.load, run=self._passed.run),
            Service("active versions", start=self._recovering.activating.go_on),
            Service("interrupted recoveries", start=self._recovering.go_on),
            Service("durations", run=self._recovering.elapsed.run),
            Service("orphaned staging", run=self._recovering.remove_orphans),
            # Whoever hears this node first hears of what it keeps copies.
            Service("copies", start=self._answers.copying.announce, run=self._answers.copying.run),
            Service("listeners", start=self._listen),
            Service("requests of peers", run=self._serving.run),
            Service("peers", run=self._recovering.peering.run),
            Service("interest", run=self._recovering.asking.run),
            Service("what is on offer", run=self._keeping.run),
            Service("saves", run=self._taking.run),
            Service("repairs", run=self._recovering.repairing.run),
            Service("audits", run=self._auditing.run),
            Service("what may go", run=self._retention.retaining.run),
            Service("roots", run=self._root_watch.run),
            Service("measurements", run=self._measuring.run),
            Service("readiness", start=self._be_ready),
            Service("what is to be here", run=self._answers.configured.run),
            Service(
                "status", run=lambda: report_status(self._notifier, self._recovering.snapshots)
            ),
            Service("watchdog", run=lambda: feed_watchdog(self._notifier, disk_calls.longest_ns)),
            Service("reload", run=self._reload_on_hang_up),
        ]
        if identity is not None:
            report = self._recovering.runtime.report
            services += [
                Service("certificates", run=lambda: keep_fresh(identity)),
                Service("their time", run=lambda: watch_validity(identity, report)),
            ]
        self._auditing.prefer(self._answers.copying.is_near)
        return services

    async def _listen(self) -> None:
        """Open the listeners for people and Prometheus; that for peers is bound already."""
        parts, data = self._parts, str(self._serving.address)
        self._metrics_address = await self._measuring.listen(
            self._stack, reloaded=lambda: self._reloading.state, obstacle=self._why_not_ready
        )
        control = parts.config.listen.control
        await self._stack.enter_async_context(
            serve_control(
                (*self._answers.rows, self._watching),
                control,
                roles=lambda: parts.access.roles,
                inherited=parts.sockets.get(CONTROL),
                note_answer=self._measuring.note_answer,
                note_order=log_order,
                prepare=self._keeping.first_looks.before,
            )
        )
        _log.info(
            "daemon.listening",
            node=parts.config.node.id,
            data=data,
            metrics=self._metrics_address,
            control=control,
        )
        if parts.transport.identity is None:
            hint = "no [tls]: whoever reaches the port can read, and claim to be any node"
            _log.warning("transport.insecure", data=data, hint=hint)

    def _why_not_ready(self) -> str:
        """Say why this daemon is not to be relied on; empty if it is."""
        return self._obstacle or forbidden_root(self._root_watch.states())

    def _be_ready(self) -> None:
        self._obstacle = ""
        self._notifier.ready()

    async def _until_drained(self) -> None:
        """Wait for a signal; then finish what is being served, and commit what is verified."""
        await self._stop.wait()
        self._obstacle = "stopping"
        self._notifier.stopping()
        self._stack.enter_context(more_time(self._notifier))
        _log.info("daemon.stopping")
        self._recovering.pause()
        self._serving.refuse_more()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serving.drain())
            tasks.create_task(self._recovering.drain())
        self._recovering.runtime.stop()
        await self._recovering.elapsed.write()
        await self._rate_memory.write()
        await self._auditing.proofs.write()
        await self._measuring.write()

    async def _reload_on_hang_up(self) -> None:
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            with suppress(CkptdError):  # the log has it
                await self._reloading.reload()

    def _is_busy(self) -> bool:
        """Return whether bodies move, which go before reading what is on offer again."""
        return self._serving.is_sending or any(
            not recovery.waiting_for and not recovery.is_paused
            for recovery in self._recovering.snapshots()
        )

    def _facts(self) -> DaemonFacts:
        config = self._parts.config
        return DaemonFacts(
            node=config.node.id,
            ckptd_version=__version__,
            epoch=self._parts.epoch,
            started_at_s=self._started_at_s,
            uptime_s=round((time.monotonic_ns() - self._started_ns) / SECOND, 3),
            listen=ListenAddresses(
                data=str(self._serving.address),
                metrics=self._metrics_address,
                control=config.listen.control,
            ),
            event_loop_lag_s=self._measuring.lag_s(),
        )
