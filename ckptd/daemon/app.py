"""Puts the daemon together, runs it, and takes it apart again in good order."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Final

import uvloop

from ckptd import __version__
from ckptd.config import Address, Config
from ckptd.control.messages import api
from ckptd.control.server.dispatch import serve_control
from ckptd.core.effects import EndRecovery
from ckptd.core.events import RecoveryPaused
from ckptd.core.options import HedgingOptions, Options
from ckptd.core.report.views import RecoverySnapshot
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.answer.descriptions import DaemonFacts
from ckptd.daemon.answer.operations import DaemonOperations
from ckptd.daemon.answer.planning import Planner
from ckptd.daemon.answer.watching import Watching
from ckptd.daemon.doctor.findings import Doctor
from ckptd.daemon.doctor.health import components
from ckptd.daemon.host.activation import CONTROL, METRICS
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.host.supervision import feed_watchdog, more_time, reloading, tell_status
from ckptd.daemon.host.systemd import Notifier
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.measure.loop_lag import LagWindow, watch_loop_lag
from ckptd.daemon.measure.measuring import Measuring
from ckptd.daemon.parts import Parts, open_parts
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook, begin
from ckptd.daemon.recover.runner import Runner
from ckptd.daemon.recover.runtime import Runtime
from ckptd.daemon.settings.own_identity import following, keep_fresh
from ckptd.daemon.settings.reloading import LivePart, Reloading, Switch
from ckptd.daemon.settings.verbosity import Verbosity
from ckptd.discovery.static import StaticDiscovery
from ckptd.errors import CkptdError
from ckptd.model.ids import RecoveryId
from ckptd.model.words import WriteMode
from ckptd.net.lane.buffers import BufferPool
from ckptd.observe import logs
from ckptd.observe.metrics import create_registry, render
from ckptd.observe.pages import serve_metrics
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.staging.block_files import Writing

_DRAIN_S: Final = 5.0
"""How long a stopping daemon finishes what it serves and commits what it has verified. Half of
what a service manager is promised (10 s)."""

_YOUNG_OBJECTS_MAX: Final = 20_000
"""So many new objects are there before Python looks for cycles among them (by itself: after 700).
Records of units and files come by the ten thousand, and none is in a cycle."""

_log = logs.get_logger()


def run(config: Config, *, load: Callable[[], Config], move_damaged_state: bool) -> int:
    """Run the daemon until it is told to stop.

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
    async with AsyncExitStack() as stack:
        with more_time(notifier):
            parts = await open_parts(config, stack, move_damaged_state=move_damaged_state)
        try:
            await Daemon(config, load, log, notifier, stack, parts).run()
        except ExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], CkptdError):
                raise group.exceptions[0] from None  # a listener that cannot be had
            raise


class Daemon:
    """All parts, and how they are tied together."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        log: logs.Log,
        notifier: Notifier,
        stack: AsyncExitStack,
        parts: Parts,
    ) -> None:
        self._config = config
        self._access = parts.access
        self._sockets = parts.sockets
        self._stack = stack
        self._journal = parts.journal
        self._roots = parts.roots
        self._root_watch = RootWatch(parts.roots)
        self._listener = parts.listener
        self._server = parts.server
        self._identity = parts.identity
        self._node = config.node.id
        self._epoch = parts.epoch
        self._started_at_s = time.time()
        self._obstacle = "starting"
        self._notifier = notifier
        self._stop = asyncio.Event()
        self._hang_up = asyncio.Event()
        self._lag = LagWindow()
        # The scheduler's luck need not be secret, only different on every node.
        rng = Random(self._epoch)  # noqa: S311
        self._scheduler = Scheduler(
            rng, Options(hedging=HedgingOptions(redundancy=config.recovery.redundancy))
        )
        self._runtime = Runtime(self._scheduler)
        self._book = RecoveryBook(time.time)
        self._catalog = parts.catalog
        self._peering = Peering(
            self._node,
            StaticDiscovery(config.discovery.peers).addresses(),
            parts.inquirer,
            self._runtime.report,
            rng,
        )
        self._limiting = Limiting(config.limits, parts.throttles, self._runtime.report, time.time)
        self._measuring = Measuring(
            scheduler=self._scheduler,
            now=self._runtime.now,
            wall_clock=time.time,
            catalog=parts.catalog,
            content=parts.content,
            listener=parts.listener,
            peering=self._peering,
            roots=self._root_watch,
            inquirer=parts.inquirer,
            refusals=parts.server.admission.refusals,
            identity=parts.identity,
            limiting=self._limiting,
            lag=self._lag,
            log=log,
        )
        pool = BufferPool(config.recovery.buffers_bytes)
        manifests = Manifests(
            parts.policy, self._peering, parts.inquirer, parts.catalog, parts.journal, parts.shelf
        )
        self._runner = Runner(
            book=self._book,
            catalog=parts.catalog,
            journal=parts.journal,
            shelf=parts.shelf,
            manifests=manifests,
            advertising=parts.advertising,
            peering=self._peering,
            inquirer=parts.inquirer,
            pool=pool,
            throttles=parts.throttles,
            identity=parts.identity,
            writing=Writing(
                WriteMode(config.recovery.write_mode), drops_written=config.recovery.drop_written
            ),
            report=self._runtime.report,
            on_ended=self._note_end,
        )
        self._runtime.connect(self._runner.carry_out, self._measuring.note)
        verbosity = Verbosity(log, config.environment)
        self._reloading = Reloading(
            config,
            load=load,
            parts=(
                LivePart(("log",), verbosity.prepare),
                LivePart(("discovery.peers",), self._follow_peers),
                LivePart(("limits",), self._limiting.prepare),
                LivePart(("control",), self._access.prepare),
                LivePart(("signatures",), lambda old, new: parts.policy.prepare(new.signatures)),
                *following(parts.identity),
            ),
            wall_clock=time.time,
            telling=lambda: reloading(notifier),
        )
        data = Address(*parts.listener.address)
        self._watching = Watching(
            log,
            verbosity,
            Doctor(
                config=config,
                data=data,
                roots=parts.roots,
                peering=self._peering,
                inquirer=parts.inquirer,
                identity=parts.identity,
                pool=pool,
                throttles=parts.throttles,
                wall_clock=time.time,
            ),
            obstacle=lambda: self._obstacle,
            components=lambda: components(self._peering, parts.catalog, self._root_watch.states()),
        )
        self._operations = DaemonOperations(
            scheduler=self._scheduler,
            runtime=self._runtime,
            wall_clock=time.time,
            book=self._book,
            catalog=parts.catalog,
            journal=parts.journal,
            shelf=parts.shelf,
            policy=parts.policy,
            peering=self._peering,
            planner=Planner(
                scheduler=self._scheduler,
                now=self._runtime.now,
                book=self._book,
                catalog=parts.catalog,
                manifests=manifests,
                roots=parts.roots,
            ),
            roots=parts.roots,
            root_watch=self._root_watch,
            limiting=self._limiting,
            facts=self._facts,
            draw_id=lambda: RecoveryId(f"r-{secrets.token_hex(6)}"),
            reload=self._reloading.reload,
        )
        self._data_address = str(data)
        self._metrics_address: str | None = None

    async def run(self) -> None:
        """Serve until a signal says stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up.set)
        self._root_watch.open()
        self._stack.callback(self._root_watch.close)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._runner.run()),
                tasks.create_task(watch_loop_lag(self._lag)),
            ]
            await asyncio.sleep(0)  # the runner is ready for orders from here on
            self._limiting.start()
            await self._go_on()  # before anybody can ask about what is under way
            await self._listen()
            running.append(tasks.create_task(self._listener.serve(self._server.serve)))
            running.append(tasks.create_task(self._limiting.run()))
            running.append(tasks.create_task(self._peering.run()))
            running.append(tasks.create_task(self._root_watch.run()))
            running.append(tasks.create_task(self._measuring.redundancy.run()))
            running.append(tasks.create_task(self._measuring.freshness.run()))
            running.append(tasks.create_task(self._measuring.watch_waiting()))
            self._obstacle = ""
            self._notifier.ready()
            running += [
                tasks.create_task(tell_status(self._notifier, self._snapshots)),
                tasks.create_task(
                    feed_watchdog(self._notifier, self._runner.disk_calls.longest_ns)
                ),
                tasks.create_task(self._reload_on_hang_up()),
            ]
            if self._identity is not None:
                running.append(tasks.create_task(keep_fresh(self._identity)))
            await self._stop.wait()
            await self._drain()
            for task in running:
                task.cancel()
        _log.info("daemon.stopped")

    async def _listen(self) -> None:
        """Open the listeners for people and Prometheus; that for peers is bound already."""
        stack, listen = self._stack, self._config.listen
        if listen.metrics is not None:
            registry = create_registry(
                self._measuring.metrics(self._runner, lambda: self._reloading.state)
            )
            host, port = await stack.enter_async_context(
                serve_metrics(
                    listen.metrics.host,
                    listen.metrics.port,
                    names=(socket.gethostname(),),
                    render=lambda: render(registry),
                    obstacle=lambda: self._obstacle,
                    inherited=self._sockets.get(METRICS),
                )
            )
            self._metrics_address = str(Address(host, port))
        await stack.enter_async_context(
            serve_control(
                (self._operations, self._watching),
                listen.control,
                roles=lambda: self._access.roles,
                inherited=self._sockets.get(CONTROL),
                note_answer=self._measuring.note_answer,
            )
        )
        _log.info(
            "daemon.listening",
            node=self._node,
            data=self._data_address,
            metrics=self._metrics_address,
            control=listen.control,
        )
        if self._identity is None:
            hint = "no [tls]: whoever reaches the port can read, and claim to be any node"
            _log.warning("transport.insecure", data=self._data_address, hint=hint)

    async def _go_on(self) -> None:
        """Take up what a restart interrupted."""
        for ended in reversed(await self._journal.ended()):
            self._book.remember(ended)
        for record in await self._journal.unfinished():
            _log.info("recovery.resumed", recovery=record.recovery, checkpoint=record.checkpoint)
            recovery = OpenRecovery(record, self._roots[record.root], record.target)
            if record.version is not None:
                recovery.settle_target(record.version)
            begin(
                recovery,
                book=self._book,
                report=self._runtime.report,
                catalog=self._catalog,
            )

    async def _drain(self) -> None:
        """Stop taking work, finish what is being served, commit what is verified."""
        self._obstacle = "stopping"
        self._notifier.stopping()
        self._stack.enter_context(more_time(self._notifier))
        _log.info("daemon.stopping")
        for recovery in self._book:
            # Not noted in the journal: the next life goes on with it.
            self._runtime.report(RecoveryPaused(recovery.id))
        self._server.drain()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listener.drain(_DRAIN_S))
            tasks.create_task(self._commit_rest())
        self._runtime.stop()

    async def _commit_rest(self) -> None:
        """Wait until what is verified is in the journal; the scheduler orders that itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._runtime.wait_until(
                    lambda: all(recovery.is_committed for recovery in self._snapshots())
                )

    def _snapshots(self) -> tuple[RecoverySnapshot, ...]:
        return self._scheduler.recoveries(now=self._runtime.now())

    async def _reload_on_hang_up(self) -> None:
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            with suppress(CkptdError):  # the log has it
                await self._reloading.reload()

    def _follow_peers(self, _: Config, new: Config) -> Switch:
        addresses = StaticDiscovery(new.discovery.peers).addresses()

        def switch() -> None:
            for left in self._peering.change(addresses):
                self._runner.cut(left)

        return switch

    def _note_end(self, effect: EndRecovery, ended: EndedRecovery) -> None:
        self._measuring.note_end(effect, ended)
        _log.info(
            "recovery.ended",
            recovery=ended.recovery,
            result=ended.result.value,
            checkpoint=ended.checkpoint,
            version=ended.version,
            received_bytes=ended.received_bytes,
            resumed_bytes=ended.resumed_bytes,
            wasted_bytes=ended.wasted_bytes,
            duration_s=ended.duration_s,
            why=ended.message,
        )

    def _facts(self) -> DaemonFacts:
        now_s = time.time()
        return DaemonFacts(
            node=self._node,
            ckptd_version=__version__,
            epoch=self._epoch,
            started_at_s=self._started_at_s,
            uptime_s=round(now_s - self._started_at_s, 3),
            listen=api.Listen(
                data=self._data_address,
                metrics=self._metrics_address,
                control=self._config.listen.control,
            ),
            event_loop_lag_s=self._measuring.lag_s(),
        )
