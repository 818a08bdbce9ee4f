"""Opens what can refuse to be opened, in the order in which it is needed."""

from __future__ import annotations

import secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ckptd.config import Address, Config
from ckptd.daemon.host.activation import DATA, inherited_sockets
from ckptd.daemon.host.confinement import confine_daemon
from ckptd.daemon.recover.signature_policy import SignaturePolicy
from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.serve.content import ServedContent
from ckptd.daemon.settings.access import Access, find_roles
from ckptd.daemon.settings.own_identity import open_identity
from ckptd.daemon.settings.real_directories import check_places
from ckptd.errors import CkptdError, DamagedState
from ckptd.model.ids import Epoch
from ckptd.net.connection.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.net.source.caps import Admission
from ckptd.net.source.listener import Listener
from ckptd.net.source.server import PeerServer
from ckptd.net.throttle import Throttles
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database, StateDirectory, move_aside
from ckptd.store.records.journal import Journal
from ckptd.store.records.signature_records import SignatureShelf

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
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
    throttles: Throttles


async def open_parts(config: Config, stack: AsyncExitStack, *, move_damaged_state: bool) -> Parts:
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
        per_node_max=config.listen.connections_per_address,
    )
    throttles = Throttles.create()
    server = PeerServer(
        content,
        node=config.node.id,
        epoch=epoch,
        admission=admission,
        identity=identity,
        throttle=throttles.egress,
        drops_sent=config.serving.drop_sent,
    )
    stack.callback(server.close)
    listener = (
        Listener.adopt(sockets[DATA], admission)
        if DATA in sockets
        else _bind(config.listen.data, admission)
    )
    stack.callback(listener.close)
    inquirer = await stack.enter_async_context(Inquirer(identity))
    return Parts(
        identity=identity,
        throttles=throttles,
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
