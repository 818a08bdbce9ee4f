"""The sections of the configuration: each key with its parser, its unit and its default.

The fields of the structs are the keys of the file, in its order. Sizes are text in the file
(``buffers = "256MiB"``) and integers here (``buffers_bytes``). A new key is a field here and a
line of ``configs/ckptd.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from ckptd.config.addresses import Address, parse_address
from ckptd.config.copy_values import CopiesSection, zone_or_none
from ckptd.config.document import EnvironmentKey, Key
from ckptd.config.recover_tables import RecoverTable
from ckptd.config.retention_values import free_room, kept_copies, kept_newest, retention_interval
from ckptd.config.values import (
    Advertised,
    KeptWarm,
    absolute_path,
    account_or_none,
    accounts,
    address_or_off,
    advertised,
    buffers,
    check_interval,
    congestion_control,
    connections,
    connections_per_address,
    cores,
    credential_or_none,
    credential_or_path,
    current_link,
    file_mode,
    file_size,
    interface,
    kept_warm,
    link_rate,
    path_or_none,
    pattern_groups,
    patterns,
    peers,
    reading_rate,
    redundancy,
    scrub_interval,
    settle_time,
    socket_path,
    version_size,
)
from ckptd.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    DAY_S,
    MIB,
    TIB,
    UNIT_BYTES_MAX,
)
from ckptd.model.formats.element_types import NOTHING, parse_dtype
from ckptd.model.ids import NodeId, parse_node_id
from ckptd.model.policy.configured import ConfiguredPolicy
from ckptd.model.rate_limits import RateLimits
from ckptd.model.retention import FreeRoom
from ckptd.model.timetable import Span
from ckptd.model.toml_text import flag, one_of, text
from ckptd.model.watched_names import WatchRule
from ckptd.model.words import OnConflict, PlaceMode, RemovableKind, WriteMode
from ckptd.net.source.congestion import AUTO

DEFAULT_SOCKET: Final = "/run/ckptd/ckptd.sock"

ENVIRONMENT: Final = (
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
"""What the daemon takes from the environment: set by systemd, and by https://no-color.org."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "logfmt", "json", "console"]

_EVERYWHERE: Final = Address("0.0.0.0", 7421)  # noqa: S104  peers are on other machines
_Accounts: TypeAlias = Annotated[tuple[str, ...], Key(accounts)]


class NodeSection(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is, where it stands, and where the daemon keeps its own files."""

    id: Annotated[NodeId, Key(text(parse_node_id))]
    state_dir: Annotated[str, Key(text(absolute_path))]
    zone: Annotated[str | None, Key(text(zone_or_none))] = None


class ListenSection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens; ``metrics`` is ``None`` when switched off.

    ``advertise`` is shown to people at peers, and dialled by nobody.
    """

    data: Annotated[Address, Key(text(parse_address))] = _EVERYWHERE
    metrics: Annotated[Address | None, Key(text(address_or_off))] = Address("127.0.0.1", 7422)
    control: Annotated[str, Key(text(socket_path))] = DEFAULT_SOCKET
    connections: Annotated[int, Key(connections)] = CONNECTIONS_MAX
    connections_per_address: Annotated[int, Key(connections_per_address)] = (
        CONNECTIONS_PER_ADDRESS_MAX
    )
    advertise: Annotated[Advertised, Key(advertised)] = "interfaces"


class ControlSection(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what on the control socket: names, or numbers as text."""

    admin_users: _Accounts = ()
    admin_groups: _Accounts = ()
    operator_users: _Accounts = ()
    operator_groups: _Accounts = ()
    viewer_users: _Accounts = ()
    viewer_groups: _Accounts = ()


class DiscoverySection(msgspec.Struct, frozen=True, kw_only=True):
    """Who the peers are, each as ``host:port``, or ``node@host:port`` if it must be that node."""

    peers: Annotated[tuple[str, ...], Key(peers)] = ()


class TransportSection(msgspec.Struct, frozen=True, kw_only=True):
    """How peers talk; beyond loopback ``insecure`` is the contrary of a section ``[tls]``.

    ``congestion_control`` is what bodies are sent with: ``ckptd.net.source.congestion``.
    """

    insecure: Annotated[bool, Key(flag)] = False
    congestion_control: Annotated[str, Key(text(congestion_control))] = AUTO
    coding: Annotated[bool, Key(flag)] = True


class SignaturesSection(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs manifests, and which must be signed.

    Attributes:
        key: File of the private key that this node signs with; ``None``: it does not.
        trusted: File of the keys whose signatures count; ``None``: there are none.
        require: Patterns of checkpoints that are recovered only with a signature that counts.
    """

    key: Annotated[str | None, Key(text(path_or_none))] = None
    trusted: Annotated[str | None, Key(text(path_or_none))] = None
    require: Annotated[tuple[str, ...], Key(patterns)] = ()


class TlsSection(msgspec.Struct, frozen=True, kw_only=True):
    """By what nodes know each other: paths of files, see ``ckptd.net.connection.identity``."""

    ca: Annotated[str, EnvironmentKey(credential_or_path)]
    certificate: Annotated[str, EnvironmentKey(credential_or_path)]
    key: Annotated[str, EnvironmentKey(credential_or_path)]
    revoked: Annotated[str | None, EnvironmentKey(credential_or_none)] = None


class RootRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for recoveries into one root, in place of the same keys of ``[recovery]``."""

    mode: str
    owner: str | None
    group: str | None


class RecoverySection(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery may use, and how it writes.

    Attributes:
        buffers_bytes: Memory for bodies that arrive.
        redundancy: 1 or 2.
        write_mode: Through the page cache or past it.
        drop_written: What is durable leaves the page cache again, unless ``keep_warm`` says more.
        keep_warm_bytes: How much of what was just recovered stays there; ``auto``: half of the
            memory, or nothing where ``drop_written`` is set or blocks go past it.
        on_conflict: What a recovery in the background does then.
        mode: No file gets bits beyond these, octal.
        owner: Whose what is recovered becomes; ``None``: it stays the daemon's.
        group: Likewise.
        version_max_bytes: The longest version, holes included.
        place: How versions become visible, unless a policy or the request says otherwise.
        current: The link to the active version of a checkpoint, below its root; ``{checkpoint}``
            stands for the name.
        roots: For what mode, owner and group are others: sections ``[recovery.roots.NAME]``.
    """

    buffers_bytes: Annotated[int, Key(text(buffers))] = msgspec.field(
        default=256 * MIB, name="buffers"
    )
    redundancy: Annotated[int, Key(redundancy)] = 1
    write_mode: Annotated[WriteMode, Key(one_of(WriteMode))] = WriteMode.BUFFERED
    drop_written: Annotated[bool, Key(flag)] = False
    keep_warm_bytes: Annotated[KeptWarm, Key(text(kept_warm))] = msgspec.field(
        default="auto", name="keep_warm"
    )
    on_conflict: Annotated[OnConflict, Key(one_of(OnConflict))] = OnConflict.WAIT
    mode: Annotated[str, Key(text(file_mode))] = "0775"
    owner: Annotated[str | None, Key(account_or_none)] = None
    group: Annotated[str | None, Key(account_or_none)] = None
    version_max_bytes: Annotated[int, Key(text(version_size))] = msgspec.field(
        default=16 * TIB, name="version_max"
    )
    place: Annotated[PlaceMode, Key(one_of(PlaceMode))] = PlaceMode.ATOMIC
    current: Annotated[str, Key(text(current_link))] = "{checkpoint}/current"
    roots: Mapping[str, RootRecovery] = {}


class JobSection(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for one job.

    Attributes:
        shards: Which shards are this node's, as ``parse_shards`` reads it: those that a recovery
            is for unless somebody says which.
    """

    shards: str


class PublishSection(msgspec.Struct, frozen=True, kw_only=True):
    """What can be published.

    Attributes:
        settle_s: A directory counts as finished when nothing in it has changed for so long.
        file_max_bytes: The longest file, holes included.
        policy_inside: A policy in the directory itself counts.
        recognise: What recognisers propose counts, behind all policies.
        dtype: Of which type the elements of files are, where whoever publishes says nothing.
    """

    settle_s: Annotated[float, Key(text(settle_time))] = msgspec.field(default=1.0, name="settle")
    file_max_bytes: Annotated[int, Key(text(file_size))] = msgspec.field(
        default=UNIT_BYTES_MAX, name="file_max"
    )
    policy_inside: Annotated[bool, Key(flag)] = False
    recognise: Annotated[bool, Key(flag)] = False
    dtype: Annotated[str, Key(text(parse_dtype))] = NOTHING


class ServingSection(msgspec.Struct, frozen=True, kw_only=True):
    """How what is here is sent to peers."""

    drop_sent: Annotated[bool, Key(flag)] = False
    coding_cores: Annotated[float, Key(text(cores))] = msgspec.field(default=0.5, name="coding")


class StoreSection(msgspec.Struct, frozen=True, kw_only=True):
    """How what is on offer is looked after.

    Attributes:
        check_every_s: How often all files are looked at.
        check_rate_bytes_per_s: How fast files that look different are read when nobody waits.
    """

    check_every_s: Annotated[int, Key(text(check_interval))] = msgspec.field(
        default=60, name="check_every"
    )
    check_rate_bytes_per_s: Annotated[int, Key(text(reading_rate))] = msgspec.field(
        default=100 * MIB, name="check_rate"
    )


class ScrubSection(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how fast, everything on offer is read again.

    Attributes:
        every_s: How often; ``None``: never.
        rate_bytes_per_s: How fast.
        repair: Fetch what has rotted from peers, and put it right where it stands.
    """

    every_s: Annotated[int | None, Key(text(scrub_interval))] = msgspec.field(
        default=7 * DAY_S, name="every"
    )
    rate_bytes_per_s: Annotated[int, Key(text(reading_rate))] = msgspec.field(
        default=50 * MIB, name="rate"
    )
    repair: Annotated[bool, Key(flag)] = False


class LimitSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that count at some time of day, in place of those that always do."""

    span: Span
    rates: RateLimits


class LimitsSection(msgspec.Struct, frozen=True, kw_only=True):
    """How much may move in a second.

    Attributes:
        rates: What counts always.
        schedule: What counts at some times instead; of those that do, the last one.
        yield_to: The network interface whose other traffic goes before recoveries in the
            background; ``None``: there is none.
        yield_rate_bytes_per_s: What that carries; ``None``: what the system says, else what shows.
    """

    rates: RateLimits = {}
    schedule: tuple[LimitSpan, ...] = ()
    yield_to: Annotated[str | None, Key(text(interface))] = None
    yield_rate_bytes_per_s: Annotated[int | None, Key(text(link_rate))] = msgspec.field(
        default=None, name="yield_rate"
    )


class ReuseSection(msgspec.Struct, frozen=True, kw_only=True):
    """Of which checkpoints on this node blocks are taken that others would have to send.

    Attributes:
        across: Groups of patterns for names: between those of a group also across names.
    """

    across: Annotated[tuple[tuple[str, ...], ...], Key(pattern_groups)] = ()


class CheckpointRetention(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for some checkpoints, in place of the same keys of ``[retention]``."""

    newest: int | None
    every_s: int | None
    copies: int
    remove: RemovableKind


class RetentionSection(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions stay on this node; the default keeps everything.

    Attributes:
        newest: So many of the newest of each checkpoint stay; ``None``: that is not asked for.
        every_s: Of older ones one for so many seconds, as long as there is room; ``None``: none.
        min_free: How much of each root's disk is to stay free; ``None``: that is not looked at.
        copies: Nothing goes unless so many other nodes have it whole.
        remove: What may be removed.
        checkpoints: For what these are others, by pattern: ``[retention.checkpoints."PATTERN"]``.
    """

    newest: Annotated[int | None, Key(kept_newest)] = None
    every_s: Annotated[int | None, Key(text(retention_interval))] = msgspec.field(
        default=None, name="every"
    )
    min_free: Annotated[FreeRoom | None, Key(text(free_room))] = None
    copies: Annotated[int, Key(kept_copies)] = 1
    remove: Annotated[RemovableKind, Key(one_of(RemovableKind))] = RemovableKind.RECOVERED
    checkpoints: Mapping[str, CheckpointRetention] = {}

    @property
    def is_on(self) -> bool:
        """Somebody asked for something that lets versions go."""
        rules = [(self.newest, self.every_s)]
        rules += ((each.newest, each.every_s) for each in self.checkpoints.values())
        return self.min_free is not None or any(newest or every_s for newest, every_s in rules)


class LogSection(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon says, and in which form."""

    level: Annotated[LogLevel, Key(one_of(get_args(LogLevel)))] = "info"
    format: Annotated[LogFormat, Key(one_of(get_args(LogFormat)))] = "auto"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that was checked.

    Attributes:
        node: Section ``[node]``.
        roots: Section ``[roots]``: name → directory, absolute and normalised. No root lies
            in another, nor in the state directory, nor the state directory in a root.
        listen: Section ``[listen]``.
        control: Section ``[control]``; that the names are known is not checked yet.
        discovery: Section ``[discovery]``.
        transport: Section ``[transport]``.
        signatures: Section ``[signatures]``.
        tls: Section ``[tls]``; ``None`` if there is none, and peers talk in plaintext.
        recovery: Section ``[recovery]``.
        recover: Tables ``[[recover]]``.
        jobs: Sections ``[jobs.NAME]``, by the job's name.
        publish: Section ``[publish]``.
        policy: Tables ``[[policy]]``, in order of precedence.
        watch: Tables ``[[watch]]``.
        serving: Section ``[serving]``.
        store: Section ``[store]``.
        scrub: Section ``[scrub]``.
        reuse: Section ``[reuse]``.
        limits: Section ``[limits]``.
        retention: Section ``[retention]``.
        copies: Section ``[copies]``.
        log: Section ``[log]``.
        environment: Those variables of :data:`ENVIRONMENT` that are set.
    """

    node: NodeSection
    roots: Mapping[str, str]
    listen: ListenSection = ListenSection()
    control: ControlSection = ControlSection()
    discovery: DiscoverySection = DiscoverySection()
    transport: TransportSection = TransportSection()
    signatures: SignaturesSection = SignaturesSection()
    tls: TlsSection | None = None
    recovery: RecoverySection = RecoverySection()
    recover: tuple[RecoverTable, ...] = ()
    jobs: Mapping[str, JobSection] = {}
    publish: PublishSection = PublishSection()
    policy: tuple[ConfiguredPolicy, ...] = ()
    watch: tuple[WatchRule, ...] = ()
    serving: ServingSection = ServingSection()
    store: StoreSection = StoreSection()
    scrub: ScrubSection = ScrubSection()
    reuse: ReuseSection = ReuseSection()
    limits: LimitsSection = LimitsSection()
    retention: RetentionSection = RetentionSection()
    copies: CopiesSection = CopiesSection()
    log: LogSection = LogSection()
    environment: Mapping[str, str] = {}
