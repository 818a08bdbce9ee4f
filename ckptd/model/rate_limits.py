"""Limits that an operator sets: how much may move in a second, of what.

A limit is a ceiling. There are three levels, and bytes must fit all that stand above them:
everything in one direction, one class of it, one peer of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from ckptd.errors import UsageError
from ckptd.limits import KIB, NODE_ID_BYTES_MAX
from ckptd.model.quantities import parse_rate
from ckptd.model.words import Direction, Urgency

RATE_MIN_BYTES_PER_S: Final = 128 * KIB
"""No limit is lower: a source cuts off who takes less than 64 KiB/s."""
RATE_MAX_BYTES_PER_S: Final = 2**40
"""A terabyte a second; more is no limit to anything."""
PEER_LIMITS_MAX: Final = 4096
"""As many as there can be peers."""

TOTAL: Final = "total"
UNLIMITED: Final = "unlimited"
_PEERS: Final = "peers"
_CLASSES: Final = {urgency.label: urgency for urgency in Urgency}


class LimitKey(NamedTuple):
    """Names one limit.

    Attributes:
        direction: Of what.
        urgency: Of one class of it; ``None``: of all.
        peer: Of one peer: its node id, or, as long as peers talk in plaintext, the IP address of
            a receiver; empty: of all.
    """

    direction: Direction
    urgency: Urgency | None = None
    peer: str = ""

    def __str__(self) -> str:
        scope = TOTAL if self.urgency is None else self.urgency.label
        return f"{self.direction.value}.{f'{_PEERS}.{self.peer}' if self.peer else scope}"


RateLimits: TypeAlias = Mapping[LimitKey, int | None]
"""Bytes per second; ``None``: no limit. What is not in it is not said."""


def parse_limit_key(text: str) -> LimitKey:
    """Read ``ingress.total``, ``egress.deferred`` or ``egress.peers.node-b``.

    Raises:
        UsageError: No limit has that name.
    """
    direction, _, scope = text.partition(".")
    try:
        known = Direction(direction)
    except ValueError:
        known = None
    kind, _, peer = scope.partition(".")
    if known is not None:
        if scope == TOTAL:
            return LimitKey(known)
        if scope in _CLASSES:
            return LimitKey(known, urgency=_CLASSES[scope])
        if kind == _PEERS and 0 < len(peer) <= NODE_ID_BYTES_MAX:
            return LimitKey(known, peer=peer)
    directions = ", ".join(each.value for each in Direction)
    scopes = ", ".join([TOTAL, *_CLASSES, f"{_PEERS}.NODE"])
    raise UsageError(
        f"limit {text[:80]!r}",
        "is not known",
        f"Write one of {directions}, a dot, one of {scopes}.",
    )


def parse_limit(text: str) -> int | None:
    """Read a rate as bytes per second; ``unlimited`` is ``None``.

    Raises:
        UsageError: It is none, or too low to get along with.
    """
    if text == UNLIMITED:
        return None
    rate = parse_rate(text)
    if not RATE_MIN_BYTES_PER_S <= rate <= RATE_MAX_BYTES_PER_S:
        raise UsageError(
            f"rate {text[:40]!r}",
            "is not from 128KiB/s to 1TiB/s",
            "To let nothing move, pause the recovery.",
        )
    return rate
