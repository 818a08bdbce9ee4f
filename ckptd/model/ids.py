"""Names of things: nodes, checkpoints, versions, digests, recoveries, transfers, lanes.

All are plain strings and integers at run time; the types keep them apart for the reader and
the type checker. The ``parse_…`` functions are the only way in from outside.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NewType

from ckptd.errors import UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, NODE_ID_BYTES_MAX, VERSION_MAX

if TYPE_CHECKING:

    class PathId(str):  # noqa: SLOT000 (never made)
        """One address at which a node answers; the scheduler takes each for a source of its own.

        The node's id for the first path to it, ``NODE via ADDRESS`` for each further one. It is
        shown to people as it is, and nobody takes it apart.
        """

    class NodeId(PathId):
        """Who a daemon is: ``[A-Za-z0-9][A-Za-z0-9._-]*``. Never an address.

        It names the first path to the node as well; not every path names a node.
        """

else:
    PathId = NewType("PathId", str)
    NodeId = NewType("NodeId", str)

OWN_DISKS: Final = PathId("this node's disks")
"""The source of blocks that lie on this node already. No peer has such a name."""

Origin = NewType("Origin", str)
"""Under what blame is kept: with TLS the node id that a certificate proves; else the configured
entry, and the address where its name has several. Never an id that a peer merely states."""

CheckpointName = NewType("CheckpointName", str)
"""Components like those of a node id, joined by ``/``: ``llama/rank-3``."""

Version = NewType("Version", int)
"""One saved state of a checkpoint, usually the training step. Not negative."""

Digest = NewType("Digest", str)
"""A BLAKE3 digest as 64 lower-case hexadecimal digits."""

Epoch = NewType("Epoch", int)
"""Drawn when a daemon starts, so that a reborn node is never taken for the old one."""

RecoveryId = NewType("RecoveryId", str)
TransferId = NewType("TransferId", int)
NeedId = NewType("NeedId", int)
"""A range that somebody waits for; not used twice in a life of the daemon."""
LaneId = NewType("LaneId", int)

DIGITS_SHOWN: Final = 12
"""So many digits of a digest tell a few apart, and are accepted as the beginning of one."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NODE_ID: Final = re.compile(_NAME, re.ASCII)
_CHECKPOINT: Final = re.compile(rf"{_NAME}(?:/{_NAME})*", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGEST_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}", re.ASCII)


def parse_node_id(text: str) -> NodeId:
    """Check a node id.

    Raises:
        UsageError: Not a node id.
    """
    if len(text) > NODE_ID_BYTES_MAX or not _NODE_ID.fullmatch(text):
        raise UsageError(
            f"node id {text[:64]!r}",
            "is not letters, digits, '.', '_' and '-' beginning with a letter or digit",
            f"Use at most {NODE_ID_BYTES_MAX} of those characters.",
        )
    return NodeId(text)


def further_path_suffix(address: str) -> str:
    """Return what follows the node's id in the name of a path that is not the first one to it.

    Args:
        address: Where the path leads to, as the configuration calls it.
    """
    return f" via {address.rpartition('@')[2]}"


def parse_checkpoint_name(text: str) -> CheckpointName:
    """Check the name of a checkpoint.

    Raises:
        UsageError: Not a name.
    """
    if len(text) > CHECKPOINT_NAME_BYTES_MAX or not _CHECKPOINT.fullmatch(text):
        name, at, _ = text[: CHECKPOINT_NAME_BYTES_MAX + 1].partition("@")
        hint = "Begin each component with a letter or digit, e.g. llama/rank-3."
        if at and _CHECKPOINT.fullmatch(name):
            hint = f"Write the name alone, without a version: {name}."
        raise UsageError(
            f"checkpoint name {text[:64]!r}",
            "is not components of letters, digits, '.', '_' and '-' joined by '/'",
            hint,
        )
    return CheckpointName(text)


def parse_version(value: int) -> Version:
    """Check a version number.

    Raises:
        UsageError: Negative or beyond 2⁶³ - 1.
    """
    if not 0 <= value <= VERSION_MAX:
        raise UsageError(f"version {value}", f"is not between 0 and {VERSION_MAX}")
    return Version(value)


def parse_digest(text: str) -> Digest:
    """Check a digest.

    Raises:
        UsageError: Not 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.fullmatch(text):
        raise UsageError(f"digest {text[:80]!r}", "is not 64 lower-case hexadecimal digits")
    return Digest(text)


def parse_digest_prefix(text: str) -> str:
    """Check the beginning of a digest, as a person types it.

    Raises:
        UsageError: Not 8 to 64 lower-case hexadecimal digits.
    """
    if not _DIGEST_PREFIX.fullmatch(text):
        raise UsageError(
            f"digest {text[:80]!r}",
            "does not begin with 8 to 64 lower-case hexadecimal digits, and nothing else",
            "Digests are in 'ckptctl checkpoints -o json'.",
        )
    return text


def is_pattern(name: str) -> bool:
    """Tell whether what stands for a checkpoint is a pattern over names: no name has such letters.

    ``*`` is any letters, ``?`` one, ``[…]`` one of some.
    """
    return any(letter in name for letter in "*?[")


def parse_reference(
    text: str, *, with_pattern: bool = False
) -> tuple[CheckpointName, Version | None]:
    """Split ``NAME`` or ``NAME@VERSION``, as a person writes it.

    Args:
        text: What was written.
        with_pattern: A pattern may stand for the name; it is returned as it is.

    Returns:
        The name, and the version or ``None`` for "the newest that can be had".

    Raises:
        UsageError: Not of that form.
    """
    name, at, version = text.partition("@")
    parse = CheckpointName if with_pattern and is_pattern(name) else parse_checkpoint_name
    if not at:
        return parse(name), None
    if not (version.isascii() and version.isdigit()) or len(version) > len(str(VERSION_MAX)):
        raise UsageError(
            f"reference {text[:80]!r}",
            "has no version number behind the '@'",
            "Write NAME or NAME@VERSION, e.g. llama/rank-3@1200.",
        )
    return parse(name), parse_version(int(version))


def shortened(digest: str) -> str:
    """Return the beginning of a digest, for people."""
    return digest[:DIGITS_SHOWN]
