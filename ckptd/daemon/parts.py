"""Opens what can refuse to be opened, in the order in which it is needed."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ckptd.config import Config
from ckptd.daemon.host.activation import inherited_files, inherited_sockets
from ckptd.daemon.host.boots import boot_id
from ckptd.daemon.host.confinement import (
    check_places,
    check_reach,
    confine_daemon,
    open_root,
)
from ckptd.daemon.settings.access import Access, find_roles
from ckptd.daemon.settings.congestion import check_congestion
from ckptd.daemon.settings.own_identity import open_identity
from ckptd.daemon.settings.recovered_owner import check_giving, find_owners
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import DamagedState
from ckptd.limits import EPOCH_BITS
from ckptd.model.ids import Epoch
from ckptd.model.words import PlaceState
from ckptd.net.connection.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.net.throttle import Throttles
from ckptd.observe.logs import get_logger
from ckptd.store.files.landlock import Confinement
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.audit_records import AuditRecords
from ckptd.store.records.configured_records import ConfiguredRecords
from ckptd.store.records.database import Database, StateDirectory, move_aside
from ckptd.store.records.elapsed_times import ElapsedTimes
from ckptd.store.records.journal import Journal
from ckptd.store.records.link_records import LinkRecords
from ckptd.store.records.milestone_records import MilestoneRecords
from ckptd.store.records.moments import Moments
from ckptd.store.records.passed_records import PassedRecords
from ckptd.store.records.placed_units import PlacedUnitRecords
from ckptd.store.records.retention_records import RetentionRecords
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.records.workload_records import WorkloadRecords
from ckptd.store.trees.ownership import Owner

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Storage:
    """What this node keeps on its disks.

    Attributes:
        roots: Directories with checkpoints.
        catalog: What is published.
        journal: What recoveries have verified, and how they ended.
        shelf: Signatures of manifests.
        attributes: Attribute documents of manifests.
        links: How fast peers delivered.
        moments: When things last went well.
        elapsed: How long recoveries have been under way.
        milestones: What they have reached meanwhile, and when.
        passed: Which places have files that were passed.
        placed_units: What recoveries put where nothing was.
        retention: What is being removed, and who reads what.
        configured: Which recoveries the daemon asked for itself.
        audits: What came of audits of what peers claim.
        workload: What was measured of the latest versions.
    """

    roots: Roots
    catalog: Catalog
    journal: Journal
    shelf: SignatureShelf
    attributes: AttributeShelf
    links: LinkRecords
    moments: Moments
    elapsed: ElapsedTimes
    milestones: MilestoneRecords
    passed: PassedRecords
    placed_units: PlacedUnitRecords
    retention: RetentionRecords
    configured: ConfiguredRecords
    audits: AuditRecords
    workload: WorkloadRecords


@dataclass(frozen=True, slots=True)
class Transport:
    """By what this node talks to its peers.

    Attributes:
        identity: Who it is to them; ``None``: they talk in plaintext.
        inquirer: Asks them.
        throttles: Keep to the limits of both directions.
    """

    identity: Identity | None
    inquirer: Inquirer
    throttles: Throttles


@dataclass(frozen=True, slots=True)
class Parts:
    """What every service of the daemon is made of, open.

    Attributes:
        config: What the daemon started with.
        wall_clock: Unix time.
        boot: Names this boot of the machine.
        epoch: Names this life of the daemon.
        storage: What it keeps.
        transport: By what it talks.
        policy: Which signatures count.
        access: Who may do what on the control socket.
        owners: Whose what is recovered becomes, by root; ``None``: it stays this process's.
        sockets: What the service manager made, by name.
        confinement: Whether this process gave up writing elsewhere.
    """

    config: Config
    wall_clock: Callable[[], float]
    boot: str
    epoch: Epoch
    storage: Storage
    transport: Transport
    policy: SignaturePolicy
    access: Access
    owners: Mapping[str, Owner | None]
    sockets: dict[str, socket.socket]
    confinement: Confinement


async def open_parts(
    config: Config,
    stack: AsyncExitStack,
    *,
    wall_clock: Callable[[], float],
    move_damaged_state: bool,
    when_confined: Callable[[], None] = lambda: None,
) -> Parts:
    """Open everything in the order in which it is needed.

    Args:
        config: What to open.
        stack: Closes it again.
        wall_clock: Unix time.
        move_damaged_state: A state database that cannot be read is moved aside.
        when_confined: Called as soon as threads may start: one that runs before the confinement
            is not confined.

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
    check_congestion(config)
    access = Access(find_roles(config.control))
    owners = find_owners(config)
    check_giving(config.recovery, owners)
    state = StateDirectory.open(config.node.state_dir)
    stack.callback(state.close)
    opened: list[Root] = []
    for name, path in config.roots.items():
        root = open_root(name, path, config.environment)
        stack.callback(root.close)
        opened.append(root)
    roots = Roots(opened, for_copies=_root_for_copies(config))
    stack.callback(roots.passed.close)
    for fd, name in inherited_files(config.environment):
        roots.passed.adopt(fd, name)
    check_reach(roots, config.environment)
    confinement = confine_daemon(config, roots)
    when_confined()
    database = await _open_database(state, move_damaged=move_damaged_state)
    stack.push_async_callback(database.close)
    catalog = Catalog(database, roots, wall_clock)
    for held in await catalog.load():
        _log_state(held)
    catalog.on_stale = _log_state
    shelf = SignatureShelf(database)
    await shelf.prune()
    attributes = AttributeShelf(database)
    await attributes.prune()
    inquirer = await stack.enter_async_context(Inquirer(identity))
    return Parts(
        config=config,
        wall_clock=wall_clock,
        boot=boot_id(),
        epoch=Epoch(secrets.randbits(EPOCH_BITS)),
        storage=Storage(
            roots,
            catalog,
            Journal(database),
            shelf,
            attributes,
            LinkRecords(database),
            Moments(database),
            ElapsedTimes(database),
            MilestoneRecords(database),
            PassedRecords(database),
            PlacedUnitRecords(database),
            RetentionRecords(database),
            ConfiguredRecords(database),
            AuditRecords(database),
            WorkloadRecords(database),
        ),
        transport=Transport(identity, inquirer, Throttles.create()),
        policy=policy,
        access=access,
        owners=owners,
        sockets=sockets,
        confinement=confinement,
    )


def _root_for_copies(config: Config) -> str:
    """Return the name of the root for copies, also if none are made any more; empty: none is."""
    name = config.copies.root
    return name if name is not None and name in config.roots else ""


def _log_state(held: HeldVersion) -> None:
    holding = held.holding
    if any(place.state is PlaceState.STALE for place in held.places):
        _log.warning(
            "version.stale",
            checkpoint=holding.checkpoint,
            version=holding.version,
            why=held.reason,
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
