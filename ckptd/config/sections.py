"""The sections of the configuration, as the daemon sees them.

The fields of the structs are the keys of the file, in its order, with their defaults. Sizes are
text in the file (``buffers = "256MiB"``) and integers here (``buffers_bytes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from ckptd.limits import CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, MIB
from ckptd.model.ids import NodeId
from ckptd.model.rate_limits import RateLimits
from ckptd.model.timetable import Span

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
WriteModeName: TypeAlias = Literal["buffered", "direct"]
LogFormat: TypeAlias = Literal["auto", "logfmt", "json", "console"]


class Address(msgspec.Struct, frozen=True):
    """A host and a port; the host is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is and where the daemon keeps its own files."""

    id: NodeId
    state_dir: str


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens; ``metrics`` is ``None`` when switched off."""

    data: Address = Address("0.0.0.0", 7421)  # noqa: S104  peers are on other machines
    metrics: Address | None = Address("127.0.0.1", 7422)
    control: str = DEFAULT_SOCKET
    connections: int = CONNECTIONS_MAX
    connections_per_address: int = CONNECTIONS_PER_ADDRESS_MAX


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what on the control socket: names, or numbers as text."""

    admin_users: tuple[str, ...] = ()
    admin_groups: tuple[str, ...] = ()
    operator_users: tuple[str, ...] = ()
    operator_groups: tuple[str, ...] = ()
    viewer_users: tuple[str, ...] = ()
    viewer_groups: tuple[str, ...] = ()


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Who the peers are, each as ``host:port``, or ``node@host:port`` if it must be that node."""

    peers: tuple[str, ...] = ()


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """How peers talk; beyond loopback ``insecure`` is the contrary of a section ``[tls]``."""

    insecure: bool = False


class Signatures(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs manifests, and which must be signed.

    Attributes:
        key: File of the private key that this node signs with; ``None``: it does not.
        trusted: File of the keys whose signatures count; ``None``: there are none.
        require: Patterns of checkpoints that are recovered only with a signature that counts.
    """

    key: str | None = None
    trusted: str | None = None
    require: tuple[str, ...] = ()


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """By what nodes know each other: paths of files, see ``ckptd.net.connection.identity``."""

    ca: str
    certificate: str
    key: str
    revoked: str | None = None


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery may use, and how it writes; ``redundancy`` is 1 or 2."""

    buffers_bytes: int = msgspec.field(default=256 * MIB, name="buffers")
    redundancy: int = 1
    write_mode: WriteModeName = "buffered"
    drop_written: bool = False


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How what is here is sent to peers."""

    drop_sent: bool = False


class LimitSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that count at some time of day, in place of those that always do."""

    span: Span
    rates: RateLimits


class Limits(msgspec.Struct, frozen=True, kw_only=True):
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
    yield_to: str | None = None
    yield_rate_bytes_per_s: int | None = msgspec.field(default=None, name="yield_rate")


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon says, and in which form."""

    level: LogLevel = "info"
    format: LogFormat = "auto"


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
        serving: Section ``[serving]``.
        limits: Section ``[limits]``.
        log: Section ``[log]``.
        environment: Those variables of :data:`ENVIRONMENT` that are set.
    """

    node: Node
    roots: Mapping[str, str]
    listen: Listen = Listen()
    control: Control = Control()
    discovery: Discovery = Discovery()
    transport: Transport = Transport()
    signatures: Signatures = Signatures()
    tls: Tls | None = None
    recovery: Recovery = Recovery()
    serving: Serving = Serving()
    limits: Limits = Limits()
    log: Log = Log()
    environment: Mapping[str, str] = {}
