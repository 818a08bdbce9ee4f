"""Values of single keys: paths, addresses, sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from ckptd.config.addresses import Address, is_ip_address, parse_address, parse_peer
from ckptd.errors import UsageError
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    CHECKPOINT_NAME_BYTES_MAX,
    CONNECTIONS_CEILING,
    CONNECTIONS_UNPROVEN_MAX,
    DAY_S,
    MIB,
    PATH_BYTES_MAX,
    PEERS_MAX,
    SECOND,
    SHOWN_ADDRESSES_MAX,
    UNIT_BYTES_MAX,
    VERSION_BYTES_MAX,
)
from ckptd.model.quantities import (
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)
from ckptd.model.toml_text import kind_of, text
from ckptd.model.unit_paths import RESERVED_PREFIX
from ckptd.store.files.layout import CHECKPOINT_PART

PATTERNS_MAX: Final = 256

SCRUB_S_MAX: Final = 366 * DAY_S

SOCKET_PATH_BYTES_MAX: Final = 107
"""``sun_path`` of ``unix(7)`` has 108 bytes, one of them for the final NUL."""

BUFFERS_BYTES_MIN: Final = 2 * BLOCK_BYTES_MAX
"""One block arrives while another is verified."""

ACCOUNTS_MAX: Final = 256
CORES_MAX: Final = 1024

ACCOUNT_NUMBER_MAX: Final = 2**32 - 2
"""The number after it stands for nobody in the system calls: ``chown(2)``."""

SETTLE_S_MAX: Final = 600
"""A person waits for a publishing."""

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@\\-]{0,255}\$?", re.ASCII)
"""Names of ``useradd(8)``, and those of directory services: ``user@domain``, ``DOMAIN\\user``."""

_CORES: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) cores?", re.ASCII)
_FILE_MODE: Final = re.compile(r"0[67][0-7]{2}", re.ASCII)
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}", re.ASCII)
"""``IFNAMSIZ`` has 16 bytes, one of them for the final NUL."""
_CONTROL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,14}", re.ASCII)
"""``TCP_CA_NAME_MAX`` has 16 bytes, one of them for the final NUL."""
_LINK_BYTES_MAX: Final = 200
"""With what goes before it while it is swapped, a name has 255 bytes at most."""
_ROOT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def credential_or_path(value: object, environ: Mapping[str, str]) -> str:
    """Read a path, or ``credential:NAME``: a file in the directory of systemd."""
    return text(lambda path: _find_credential(path, environ))(value)


def credential_or_none(value: object, environ: Mapping[str, str]) -> str | None:
    """Read the same; nothing stands for no file."""
    return text(lambda path: _find_credential(path, environ) if path else None)(value)


def _find_credential(path: str, environ: Mapping[str, str]) -> str:
    kind, colon, name = path.partition(":")
    if kind != "credential" or not colon:
        return absolute_path(path)
    if not _CREDENTIAL.fullmatch(name):
        raise UsageError(f"credential {name[:80]!r}", "is no name of a credential")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory is None:
        raise UsageError(
            f"credential {name!r}",
            "is not given to this process",
            f"Write LoadCredential={name}:PATH into the service; outside of it, use a path.",
        )
    return absolute_path(os.path.join(directory, name))


def root_name(name: str) -> str:
    """Check the name of a root.

    Raises:
        UsageError: It is none.
    """
    if not _ROOT_NAME.fullmatch(name):
        raise UsageError(
            "",
            "is no name for a root",
            "Use at most 64 letters, digits, '.', '_' and '-', a letter or digit first.",
        )
    return name


def absolute_path(path: str) -> str:
    """Check and normalise a path.

    Raises:
        UsageError: It is not absolute, or too long.
    """
    if not path.startswith("/"):
        raise UsageError(f"path {path[:80]!r}", "is not absolute", "Begin it with '/'.")
    if len(os.fsencode(path)) > PATH_BYTES_MAX or any(character < " " for character in path):
        raise UsageError(
            f"path {path[:80]!r}", f"has control characters or more than {PATH_BYTES_MAX} bytes"
        )
    return "/" + os.path.normpath(path).lstrip("/")


def path_or_none(path: str) -> str | None:
    """Read a path; nothing stands for no file."""
    return absolute_path(path) if path else None


def socket_path(path: str) -> str:
    """Check a path that must fit into an address of ``AF_UNIX``.

    Raises:
        UsageError: It does not, or is no path.
    """
    normal = absolute_path(path)
    if len(os.fsencode(normal)) > SOCKET_PATH_BYTES_MAX:
        raise UsageError(
            f"path {path[:40]!r}…",
            f"has more than the {SOCKET_PATH_BYTES_MAX} bytes that a socket's path may have",
            "Use a shorter directory, e.g. below /run.",
        )
    return normal


def address_or_off(address: str) -> Address | None:
    """Read an address; nothing switches a listener off."""
    return parse_address(address) if address else None


def buffers(size: str) -> int:
    """Read how many bytes the buffers may have.

    Raises:
        UsageError: No size, or too few.
    """
    size_bytes = parse_size(size)
    if size_bytes < BUFFERS_BYTES_MIN:
        raise UsageError(f"{size!r}", f"is less than {format_size(BUFFERS_BYTES_MIN)}")
    return size_bytes


def settle_time(duration: str) -> float:
    """Read for how many seconds nothing may have changed.

    Raises:
        UsageError: No duration, or too long.
    """
    settle_s = parse_duration(duration) / SECOND
    if settle_s > SETTLE_S_MAX:
        raise UsageError(f"{duration!r}", "is more than 10m")
    return settle_s


def connections(value: object) -> int:
    """Read how many connections may be open at the same time.

    Raises:
        UsageError: No number, or out of bounds.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError("", f"is {kind_of(value)}, not a whole number")
    if not CONNECTIONS_UNPROVEN_MAX < value <= CONNECTIONS_CEILING:
        raise UsageError("", f"is not {CONNECTIONS_UNPROVEN_MAX + 1} to {CONNECTIONS_CEILING}")
    return value


def connections_per_address(value: object) -> int:
    """Read how many connections one address may have.

    Raises:
        UsageError: No number, or out of bounds.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError("", f"is {kind_of(value)}, not a whole number")
    if not 1 <= value <= CONNECTIONS_CEILING:
        raise UsageError("", f"is not 1 to {CONNECTIONS_CEILING}")
    return value


def redundancy(value: object) -> int:
    """Read how many sources may be asked for the last critical ranges.

    Raises:
        UsageError: Neither 1 nor 2.
    """
    if not isinstance(value, int) or value is True or value not in {1, 2}:
        # Nothing else is shown: tables can be nested, and numbers long, beyond what repr() takes.
        is_short = isinstance(value, int) and value.bit_length() < 64  # noqa: PLR2004
        raise UsageError(repr(value) if is_short else kind_of(value), "is neither 1 nor 2")
    return value


KeptWarm: TypeAlias = int | Literal["auto"]
"""How much stays in the page cache; ``auto``: that is chosen by the memory there is."""


def kept_warm(size: str) -> KeptWarm:
    """Read how much of what was recovered stays in the page cache; ``"0B"``: nothing.

    Raises:
        UsageError: Neither a size nor ``auto``.
    """
    return "auto" if size == "auto" else parse_size(size)


def file_mode(mode: str) -> str:
    """Read which mode bits a recovered file may have at most, as ``chmod`` takes them.

    Raises:
        UsageError: No octal number, or one that keeps the daemon itself out.
    """
    if not _FILE_MODE.fullmatch(mode):
        raise UsageError(
            f"{mode[:40]!r}", "is no mode that lets its owner read and write", 'Write "0640".'
        )
    return mode


def file_size(size: str) -> int:
    """Read how long a file may be.

    Raises:
        UsageError: No size, or more than a unit can have.
    """
    return _size(size, UNIT_BYTES_MAX)


def version_size(size: str) -> int:
    """Read how long a version may be.

    Raises:
        UsageError: No size, or more than a manifest can claim.
    """
    return _size(size, VERSION_BYTES_MAX)


def _size(size: str, most: int) -> int:
    size_bytes = parse_size(size)
    if not 1 <= size_bytes <= most:
        raise UsageError(f"{size[:40]!r}", f"is not 1 B to {format_size(most)}")
    return size_bytes


def check_interval(duration: str) -> int:
    """Read how often files are looked at, in seconds.

    Raises:
        UsageError: No duration, or out of bounds.
    """
    return _seconds(duration, 1, DAY_S)


def scrub_interval(duration: str) -> int | None:
    """Read how often everything is read again, in seconds; nothing stands for never.

    Raises:
        UsageError: No duration, or out of bounds.
    """
    return _seconds(duration, 60, SCRUB_S_MAX) if duration else None


def _seconds(duration: str, least: int, most: int) -> int:
    seconds = parse_duration(duration) // SECOND
    if not least <= seconds <= most:
        raise UsageError(f"{duration[:40]!r}", f"is not {least} s to {most // DAY_S} d")
    return seconds


def reading_rate(rate: str) -> int:
    """Read how fast files are read in the background.

    Raises:
        UsageError: No rate, or too little.
    """
    rate_bytes_per_s = parse_rate(rate)
    if rate_bytes_per_s < MIB:
        raise UsageError(f"{rate[:40]!r}", f"is less than {format_rate(MIB)}")
    return rate_bytes_per_s


def accounts(value: object) -> tuple[str, ...]:
    """Read a list of users or groups: names, or numbers with or without quotes.

    Raises:
        UsageError: No list, too long, or something else in it.
    """
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["name", 1001].')
    if len(value) > ACCOUNTS_MAX:
        raise UsageError("", f"has {len(value)} entries, more than {ACCOUNTS_MAX}", "Use a group.")
    return tuple(dict.fromkeys(_account(entry) for entry in value))


def account_or_none(value: object) -> str | None:
    """Read the name or number of one account; empty text: there is none.

    Raises:
        UsageError: Something else.
    """
    return None if value == "" else _account(value)


def _account(entry: object) -> str:
    if isinstance(entry, int) and not isinstance(entry, bool):
        name = str(entry)
    elif isinstance(entry, str):
        name = entry
    else:
        raise UsageError("", f"has {kind_of(entry)} in it", "Name accounts, or give their numbers.")
    is_number = name.lstrip("-").isdecimal()
    if not _ACCOUNT.fullmatch(name) or (is_number and int(name) > ACCOUNT_NUMBER_MAX):
        raise UsageError(f"{name[:40]!r}", "is no name or number of an account")
    return name


def peers(value: object) -> tuple[str, ...]:
    """Read a list of peers.

    Raises:
        UsageError: No list, too long, or something else in it.
    """
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["node-b:7421"].')
    if len(value) > PEERS_MAX:
        raise UsageError("", f"has {len(value)} peers, more than {PEERS_MAX}")
    known: dict[str, str] = {}
    for entry in value:
        node, address = text(parse_peer)(entry)
        if address.port == 0:
            raise UsageError(f"{entry!r}", "is no peer: nobody listens at port 0")
        if str(address) in known:
            raise UsageError(f"{entry!r}", "stands there twice", "Name each peer once.")
        known[str(address)] = str(address) if node is None else f"{node}@{address}"
    return tuple(known.values())


Advertised: TypeAlias = tuple[Address, ...] | Literal["interfaces"]
"""Addresses at which this node answers: a list, or those of the machine's interfaces."""


def advertised(value: object) -> Advertised:
    """Read at which addresses this node answers.

    Raises:
        UsageError: No list, too long, or something else in it.
    """
    if value == "interfaces":
        return "interfaces"
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["10.0.1.2:7421"].')
    if len(value) > SHOWN_ADDRESSES_MAX:
        raise UsageError("", f"has {len(value)} addresses, more than {SHOWN_ADDRESSES_MAX}")
    addresses = dict.fromkeys(text(parse_address)(entry) for entry in value)
    for address in addresses:
        if not is_ip_address(address.host) or not address.port:
            raise UsageError(f"'{address}'", "is not an IP address and a port", "Names may differ.")
    return tuple(addresses)


def patterns(value: object) -> tuple[str, ...]:
    """Read a list of patterns of checkpoint names.

    Raises:
        UsageError: No list, too long, or something else in it.
    """
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["llama/*"].')
    if len(value) > PATTERNS_MAX:
        raise UsageError("", f"has {len(value)} patterns, more than {PATTERNS_MAX}")
    return tuple(text(pattern)(entry) for entry in value)


def pattern_groups(value: object) -> tuple[tuple[str, ...], ...]:
    """Parse groups of patterns, in each of which are at least two.

    Raises:
        UsageError: They are none.
    """
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}", "Use a list of lists of names.")
    groups = tuple(patterns(group) for group in value)
    if any(len(group) < 2 for group in groups):  # noqa: PLR2004 (one shares with nobody)
        raise UsageError("", "has a group of fewer than two names", "Name all that may share.")
    return groups


def pattern(value: str) -> str:
    """Check a pattern of checkpoint names.

    Raises:
        UsageError: It is empty or too long.
    """
    if not 0 < len(value) <= CHECKPOINT_NAME_BYTES_MAX:
        raise UsageError(
            f"pattern {value[:40]!r}",
            f"does not have 1 to {CHECKPOINT_NAME_BYTES_MAX} characters",
        )
    return value


def link_rate(rate: str) -> int | None:
    """Read what an interface carries; nothing stands for what shows."""
    return parse_rate(rate) or None if rate else None


def congestion_control(name: str) -> str:
    """Read the name of a congestion control of TCP, or ``system`` or ``auto``.

    Raises:
        UsageError: No kernel can have one of that name.
    """
    if not _CONTROL.fullmatch(name):
        raise UsageError(f"{name[:40]!r}", "is no name of a congestion control")
    return name


def interface(name: str) -> str | None:
    """Read the name of a network interface; nothing stands for none.

    Raises:
        UsageError: It is none.
    """
    if not name:
        return None
    if not _INTERFACE.fullmatch(name):
        raise UsageError(f"{name[:40]!r}", "is no name of a network interface")
    return name


def current_link(pattern: str) -> str:
    """Read where the link to the active version of a checkpoint lies, below its root.

    Raises:
        UsageError: It is no such path, or could be the directory of a version.
    """
    subject, components = f"{pattern[:80]!r}", pattern.split("/")
    hint = 'Write "{checkpoint}/current".'
    if pattern.count(CHECKPOINT_PART) != 1:
        raise UsageError(subject, f"does not have {CHECKPOINT_PART} once", hint)
    if len(os.fsencode(pattern)) > _LINK_BYTES_MAX or not pattern.isprintable():
        raise UsageError(subject, f"has control characters or more than {_LINK_BYTES_MAX} bytes")
    if not {"", ".", ".."}.isdisjoint(components):
        raise UsageError(subject, "is no plain path below a root", hint)
    if any(component.startswith(RESERVED_PREFIX) for component in components):
        raise UsageError(subject, f"names what is ckptd's own: {RESERVED_PREFIX}", hint)
    if components[-1].isdigit():
        raise UsageError(subject, "is the directory of a version, usually", hint)
    return pattern


def cores(words: str) -> float:
    """Read how much processor time may be used: ``0.5 cores``.

    Raises:
        UsageError: It is something else.
    """
    found = _CORES.fullmatch(words)
    if found is None or float(found[1]) > CORES_MAX:
        hint = 'Write "0.5 cores", or "0 cores" for none.'
        raise UsageError(f"{words[:40]!r}", "is no number of cores", hint)
    return float(found[1])
