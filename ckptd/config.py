"""The configuration file of the daemon, and the only reader of the environment.

:func:`load_config` is a pure check: it opens the file and nothing else. A directory that
does not exist is a matter for whoever opens it.

The fields of the structs below are the keys of the file, in its order, with their defaults.
Sizes are text in the file (``buffers = "256MiB"``) and integers here (``buffers_bytes``).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, get_args

import msgspec

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import BLOCK_BYTES_MAX, MIB, PATH_BYTES_MAX
from ckptd.model.ids import NodeId, parse_node_id
from ckptd.model.quantities import format_size, parse_size

DEFAULT_SOCKET: Final = "/run/ckptd/ckptd.sock"

CONFIG_BYTES_MAX: Final = MIB
"""Room for thousands of peers; whatever is longer is some other file."""

PEERS_MAX: Final = 4096

SOCKET_PATH_BYTES_MAX: Final = 107
"""``sun_path`` of ``unix(7)`` has 108 bytes, one of them for the final NUL."""

BUFFERS_BYTES_MIN: Final = 2 * BLOCK_BYTES_MAX
"""One block arrives while another is verified."""

ENVIRONMENT: Final = (
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
"""What the daemon takes from the environment: set by systemd, and by https://no-color.org."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
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


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Who the peers are, each as ``host:port``."""

    peers: tuple[str, ...] = ()


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """How peers talk; ``insecure`` is always true in a configuration that loads."""

    insecure: bool = False


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery may use."""

    buffers_bytes: int = msgspec.field(default=256 * MIB, name="buffers")


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
        discovery: Section ``[discovery]``.
        transport: Section ``[transport]``.
        recovery: Section ``[recovery]``.
        log: Section ``[log]``.
        environment: Those variables of :data:`ENVIRONMENT` that are set.
    """

    node: Node
    roots: Mapping[str, str]
    listen: Listen = Listen()
    discovery: Discovery = Discovery()
    transport: Transport = Transport()
    recovery: Recovery = Recovery()
    log: Log = Log()
    environment: Mapping[str, str] = {}


def load_config(path: str, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file.

    Args:
        path: The TOML file.
        environ: Where the variables of :data:`ENVIRONMENT` come from; the environment of the
            process if ``None``.

    Raises:
        ConfigurationError: The file cannot be used; the subject names file and key.
    """
    environ = os.environ if environ is None else environ
    document = _Document(path, _read_toml(path))
    sections = [name for name in Config.__struct_fields__ if name != "environment"]
    document.check_keys("", document.values, sections)
    config = Config(
        node=document.section(
            "node", Node, id=_text(parse_node_id), state_dir=_text(_absolute_path)
        ),
        roots=document.roots(),
        listen=document.section(
            "listen",
            Listen,
            data=_text(parse_address),
            metrics=_text(_address_or_off),
            control=_text(_socket_path),
        ),
        discovery=document.section("discovery", Discovery, peers=_peers),
        transport=document.section("transport", Transport, insecure=_flag),
        recovery=document.section("recovery", Recovery, buffers=_text(_buffers)),
        log=document.section(
            "log", Log, level=_one_of(get_args(LogLevel)), format=_one_of(get_args(LogFormat))
        ),
        environment={name: environ[name] for name in ENVIRONMENT if name in environ},
    )
    if not config.transport.insecure:
        document.fail(
            "transport.insecure",
            "must be written out as true: this version of ckptd has no TLS",
            "Write insecure = true if only machines you trust can reach listen.data.",
        )
    document.check_overlaps(config)
    return config


def default_socket_path(environ: Mapping[str, str] | None = None) -> str:
    """Return where ``ckptctl`` looks for the daemon: ``$CKPTD_SOCKET``, or the default path."""
    environ = os.environ if environ is None else environ
    return environ.get("CKPTD_SOCKET") or DEFAULT_SOCKET


def parse_address(text: str) -> Address:
    """Split ``HOST:PORT``; an IPv6 address stands in brackets, port 0 lets the kernel choose.

    Raises:
        UsageError: Not an address.
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    is_host = _is_ipv6(host) if is_bracketed else _HOST.fullmatch(host) is not None
    if not colon or not is_host or not _PORT.fullmatch(port) or int(port) > _PORT_MAX:
        raise UsageError(
            f"address {text[:80]!r}",
            "is not a host and a port from 0 to 65535",
            "Write HOST:PORT, e.g. 10.0.0.1:7421 or [::1]:7421.",
        )
    return Address(host.lower(), int(port))


_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)
_Parser: TypeAlias = Callable[[object], object]
"""Turns a value of the file into one of the configuration; raises UsageError."""

_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)
_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)
_PORT_MAX: Final = 65535
_ROOT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (str, "text"),
    (bool, "true or false"),  # before int: a bool is one
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
    (object, "a date or time"),
)


class _Document:
    """The file as TOML, and the errors that name a place in it."""

    def __init__(self, path: str, values: dict[str, object]) -> None:
        self.path = path
        self.values = values

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        raise ConfigurationError(f"{self.path}: {key}", problem, hint)

    def section(self, name: str, kind: type[_S], **parsers: _Parser) -> _S:
        """Read one table into its struct: a parser for each key, the struct has the defaults."""
        table = self.table(name)
        self.check_keys(f"{name}.", table, parsers)
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            key = field.encode_name
            if key in table:
                fields[field.name] = self.parse(f"{name}.{key}", table[key], parsers[key])
            elif field.required:
                self.fail(f"{name}.{key}", "is missing", "It has no default.")
        return kind(**fields)

    def roots(self) -> dict[str, str]:
        table = self.table("roots")
        if not table:
            self.fail("roots", "names no directory", 'Write NAME = "/path" below [roots].')
        for name in table:
            if not _ROOT_NAME.fullmatch(name):
                self.fail(
                    f"roots.{name[:64]!r}",
                    "is no name for a root",
                    "Use at most 64 letters, digits, '.', '_' and '-', a letter or digit first.",
                )
        path = _text(_absolute_path)
        return {name: self.parse(f"roots.{name}", value, path) for name, value in table.items()}

    def table(self, name: str) -> dict[str, object]:
        table = self.values.get(name, {})
        if not isinstance(table, dict):
            self.fail(name, f"is {_kind(table)}, not a table", f"Begin a section with [{name}].")
        return table

    def parse(self, key: str, value: object, parser: Callable[[object], _T]) -> _T:
        try:
            return parser(value)
        except UsageError as error:
            problem = f"{error.subject} {error.problem}".lstrip()
            raise ConfigurationError(f"{self.path}: {key}", problem, error.hint) from error

    def check_keys(self, prefix: str, table: Iterable[str], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known: {', '.join(known)}."
                self.fail(f"{prefix}{key[:64]}", "is not a key of the configuration", hint)

    def check_overlaps(self, config: Config) -> None:
        """Refuse a directory within another one: each has one owner."""
        places = {"node.state_dir": config.node.state_dir}
        for name, path in config.roots.items():
            for other, taken in places.items():
                if _is_within(path, taken) or _is_within(taken, path):
                    self.fail(
                        f"roots.{name}",
                        f"{path} overlaps {other} = {taken}",
                        "Give each a directory of its own, none inside another.",
                    )
            places[f"roots.{name}"] = path


def _read_toml(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigurationError(
            path, "does not exist", "Write one; configs/minimal.toml is the shortest that works."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(path, f"cannot be read: {reason}") from error
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigurationError(path, f"is longer than {format_size(CONFIG_BYTES_MAX)}")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(path, f"is not UTF-8 (at line {line})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            path, f"is not TOML: {error}", "Text stands in quotes; https://toml.io has the rules."
        ) from error


def _kind(value: object) -> str:
    return next(word for kind, word in _KINDS if isinstance(value, kind))


def _text(parse: Callable[[str], _T]) -> Callable[[object], _T]:
    def parser(value: object) -> _T:
        if not isinstance(value, str):
            raise UsageError("", f"is {_kind(value)}, not text", "Put the value in quotes.")
        return parse(value)

    return parser


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError("", f"is {_kind(value)}, not true or false", "Write it without quotes.")
    return value


def _one_of(words: tuple[str, ...]) -> _Parser:
    def parser(text: str) -> str:
        if text not in words:
            raise UsageError(f"{text[:40]!r}", f"is not one of {', '.join(words)}")
        return text

    return _text(parser)


def _absolute_path(text: str) -> str:
    if not text.startswith("/"):
        raise UsageError(f"path {text[:80]!r}", "is not absolute", "Begin it with '/'.")
    if len(os.fsencode(text)) > PATH_BYTES_MAX or any(character < " " for character in text):
        raise UsageError(
            f"path {text[:80]!r}", f"has control characters or more than {PATH_BYTES_MAX} bytes"
        )
    return "/" + os.path.normpath(text).lstrip("/")


def _socket_path(text: str) -> str:
    path = _absolute_path(text)
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise UsageError(
            f"path {text[:40]!r}…",
            f"has more than the {SOCKET_PATH_BYTES_MAX} bytes that a socket's path may have",
            "Use a shorter directory, e.g. below /run.",
        )
    return path


def _address_or_off(text: str) -> Address | None:
    return parse_address(text) if text else None


def _buffers(text: str) -> int:
    size_bytes = parse_size(text)
    if size_bytes < BUFFERS_BYTES_MIN:
        raise UsageError(f"{text!r}", f"is less than {format_size(BUFFERS_BYTES_MIN)}")
    return size_bytes


def _peers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError("", f"is {_kind(value)}, not a list", 'Write ["node-b:7421"].')
    if len(value) > PEERS_MAX:
        raise UsageError("", f"has {len(value)} peers, more than {PEERS_MAX}")
    peers: dict[str, None] = {}
    for entry in value:
        address = _text(parse_address)(entry)
        if address.port == 0:
            raise UsageError(f"{entry!r}", "is no peer: nobody listens at port 0")
        if str(address) in peers:
            raise UsageError(f"{entry!r}", "stands there twice", "Name each peer once.")
        peers[str(address)] = None
    return tuple(peers)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_within(path: str, directory: str) -> bool:
    return f"{path}/".startswith(directory.rstrip("/") + "/")
