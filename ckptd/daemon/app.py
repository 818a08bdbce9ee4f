"""Puts the daemon together, runs it, and takes it apart again in good order."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec
import uvloop

from ckptd import __version__
from ckptd.config import Address, Config
from ckptd.control import api
from ckptd.control.server import serve_control
from ckptd.core.effects import EndRecovery
from ckptd.core.events import RecoveryPaused
from ckptd.core.options import Options
from ckptd.core.scheduler import Scheduler
from ckptd.core.views import RecoverySnapshot
from ckptd.daemon.access import Access, find_roles
from ckptd.daemon.activation import CONTROL, DATA, METRICS, inherited_sockets
from ckptd.daemon.advertising import Advertising
from ckptd.daemon.confinement import confine_daemon
from ckptd.daemon.content import ServedContent
from ckptd.daemon.doctor import Doctor
from ckptd.daemon.identity import following, keep_fresh, open_identity
from ckptd.daemon.loop_lag import LagWindow, watch_loop_lag
from ckptd.daemon.manifests import Manifests
from ckptd.daemon.measuring import Measuring
from ckptd.daemon.operations import DaemonOperations
from ckptd.daemon.peering import Peering, PeerState
from ckptd.daemon.places import check_places
from ckptd.daemon.planning import Planner
from ckptd.daemon.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.reloading import LivePart, Reloading, Switch
from ckptd.daemon.runner import Runner
from ckptd.daemon.runtime import Runtime
from ckptd.daemon.signatures import SignaturePolicy
from ckptd.daemon.supervision import feed_watchdog, more_time, reloading, tell_status
from ckptd.daemon.systemd import Notifier
from ckptd.daemon.verbosity import Verbosity
from ckptd.daemon.views import DaemonFacts
from ckptd.daemon.watching import Watching
from ckptd.discovery.static import StaticDiscovery
from ckptd.errors import CkptdError, DamagedState
from ckptd.model.ids import Epoch, RecoveryId
from ckptd.net.admission import Admission
from ckptd.net.buffers import BufferPool
from ckptd.net.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.net.listener import Listener
from ckptd.net.server import PeerServer
from ckptd.observe import logs
from ckptd.observe.http import serve_metrics
from ckptd.observe.metrics import create_registry, render
from ckptd.store.catalog import Catalog
from ckptd.store.database import Database, StateDirectory, move_aside
from ckptd.store.journal import Journal
from ckptd.store.roots import Root, Roots
from ckptd.store.signatures import SignatureShelf

_DRAIN_S: Final = 5.0
"""How long a stopping daemon finishes what it serves and commits what it has verified. Half of
what a service manager is promised (10 s)."""

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
    log = logs.configure(config.log.level, config.log.format, environ=config.environment)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config, load, log, move_damaged_state=move_damaged_state))
    return 0


async def _run(
    config: Config, load: Callable[[], Config], log: logs.Log, *, move_damaged_state: bool
) -> None:
    notifier = Notifier.from_environment(config.environment)
    async with AsyncExitStack() as stack:
        with more_time(notifier):
            parts = await _open_parts(config, stack, move_damaged_state=move_damaged_state)
        try:
            await Daemon(config, load, log, notifier, stack, parts).run()
        except ExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], CkptdError):
                raise group.exceptions[0] from None  # a listener that cannot be had
            raise


@dataclass(frozen=True, slots=True)
class _Parts:
    """What can refuse to be opened, open."""

    access: Access
    sockets: dict[str, socket.socket]
    epoch: Epoch
    roots: Roots
    catalog: Catalog
    journal: Journal
    policy: SignaturePolicy
    shelf: SignatureShelf
    advertising: Advertising
    content: ServedContent
    server: PeerServer
    listener: Listener
    inquirer: Inquirer
    identity: Identity | None


async def _open_parts(config: Config, stack: AsyncExitStack, *, move_damaged_state: bool) -> _Parts:
    """Open everything in the order in which it is needed; ``stack`` closes it again.

    Raises:
        CkptdError: Something refuses.
    """
    identity = open_identity(config)
    policy = SignaturePolicy(config.signatures)
    sockets = inherited_sockets(config.environment)
    for inherited in sockets.values():
        stack.callback(inherited.close)
    # On the loop, which has nothing else to do yet: no thread may start before the confinement.
    check_places(config)
    access = Access(find_roles(config.control))
    state = StateDirectory.open(config.node.state_dir)
    stack.callback(state.close)
    opened: list[Root] = []
    for name, path in config.roots.items():
        root = Root.open(name, path)
        stack.callback(root.close)
        opened.append(root)
    roots = Roots(opened)
    confine_daemon(config, roots)
    database = await _open_database(state, move_damaged=move_damaged_state)
    stack.push_async_callback(database.close)
    catalog = Catalog(database, roots)
    for stale in await catalog.load():
        holding = stale.holding
        _log.warning("version.stale", checkpoint=holding.checkpoint, version=holding.version)
    epoch = Epoch(secrets.randbits(63))
    journal = Journal(database)
    advertising = Advertising(config.node.id, epoch, catalog)
    shelf = SignatureShelf(database)
    await shelf.prune()
    content = ServedContent(advertising, catalog, journal, shelf)
    admission = Admission(
        connections_max=config.listen.connections,
        per_address_max=config.listen.connections_per_address,
    )
    server = PeerServer(
        content, node=config.node.id, epoch=epoch, admission=admission, identity=identity
    )
    stack.callback(server.close)
    listener = (
        Listener.adopt(sockets[DATA], admission)
        if DATA in sockets
        else _bind(config.listen.data, admission)
    )
    stack.callback(listener.close)
    inquirer = await stack.enter_async_context(Inquirer(identity))
    return _Parts(
        identity=identity,
        access=access,
        sockets=sockets,
        epoch=epoch,
        roots=roots,
        catalog=catalog,
        journal=journal,
        policy=policy,
        shelf=shelf,
        advertising=advertising,
        content=content,
        server=server,
        listener=listener,
        inquirer=inquirer,
    )


async def _open_database(state: StateDirectory, *, move_damaged: bool) -> Database:
    database = Database(state.database_path)
    try:
        await database.open()
    except DamagedState:
        if not move_damaged:
            raise
        _log.warning("state.moved_aside", path=move_aside(database.path))
        database = Database(state.database_path)
        await database.open()
    return database


def _bind(address: Address, admission: Admission) -> Listener:
    try:
        return Listener.bind(address.host, address.port, admission)
    except OSError as error:
        raise CkptdError(
            f"data listener {address}",
            f"cannot listen: {error.strerror or error}",
            "Choose another listen.data, or stop whoever has it.",
        ) from error


class Daemon:
    """All parts, and how they are tied together."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        log: logs.Log,
        notifier: Notifier,
        stack: AsyncExitStack,
        parts: _Parts,
    ) -> None:
        self._config = config
        self._access = parts.access
        self._sockets = parts.sockets
        self._stack = stack
        self._catalog = parts.catalog
        self._journal = parts.journal
        self._roots = parts.roots
        self._content = parts.content
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
        self._scheduler = Scheduler(rng, Options(redundancy=config.recovery.redundancy))
        self._runtime = Runtime(self._scheduler)
        self._book = RecoveryBook(time.time)
        self._peering = Peering(
            self._node,
            StaticDiscovery(config.discovery.peers).addresses(),
            parts.inquirer,
            self._runtime.report,
            rng,
        )
        self._measuring = Measuring(
            scheduler=self._scheduler,
            now=self._runtime.now,
            wall_clock=time.time,
            catalog=parts.catalog,
            content=parts.content,
            listener=parts.listener,
            peering=self._peering,
            roots=parts.roots,
            identity=parts.identity,
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
            identity=parts.identity,
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
                pool=pool,
                wall_clock=time.time,
            ),
            obstacle=lambda: self._obstacle,
            components=self._components,
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
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._runner.run()),
                tasks.create_task(watch_loop_lag(self._lag)),
            ]
            await asyncio.sleep(0)  # the runner is ready for orders from here on
            await self._go_on()  # before anybody can ask about what is under way
            await self._listen()
            running.append(tasks.create_task(self._listener.serve(self._server.serve)))
            running.append(tasks.create_task(self._peering.run()))
            running.append(tasks.create_task(self._measuring.redundancy.run()))
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
                lambda: self._measuring.snapshot(self._runner, self._reloading.state)
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
                self._operations,
                listen.control,
                roles=lambda: self._access.roles,
                inherited=self._sockets.get(CONTROL),
                observing=self._watching,
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
        for report in reversed(await self._journal.reports()):
            self._book.remember(msgspec.json.decode(report, type=api.RecoveryResult))
        for record in await self._journal.unfinished():
            _log.info("recovery.resumed", recovery=record.recovery, checkpoint=record.checkpoint)
            recovery = OpenRecovery(record, self._roots[record.root], record.target)
            if record.version is not None:
                recovery.settle_target(record.version)
            self._operations.begin(recovery)

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

    def _note_end(self, effect: EndRecovery, result: api.RecoveryResult) -> None:
        self._measuring.note_end(effect, result)
        _log.info(
            "recovery.ended",
            recovery=result.recovery,
            result=result.result.value,
            checkpoint=result.checkpoint,
            version=result.version,
            received_bytes=result.bytes_received,
            resumed_bytes=result.bytes_resumed,
            wasted_bytes=result.bytes_wasted,
            duration_s=result.duration_s,
            why=result.message,
        )

    def _components(self) -> dict[str, str]:
        """Say of each part what is wrong with it."""
        peers = [peer for peer in self._peering.peers() if peer.state is not PeerState.SELF]
        is_alone = peers and all(peer.state is not PeerState.LIVE for peer in peers)
        stale = sum(held.is_stale for held in self._catalog.versions())
        return {
            "peers": "no peer answers" if is_alone else "",
            "store": f"{stale} stale versions" if stale else "",
            **{f"root {root.name}": root.obstacle() for root in self._roots},
        }

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
