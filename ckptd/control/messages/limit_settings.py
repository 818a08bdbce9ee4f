"""What crosses the control socket about limits on what may move in a second."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ckptd.limits import PATIENCE_MAX_S
from ckptd.model.words import LimitOrigin

CHANGES_MAX = 256
"""Limits that one request changes."""


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that applies now.

    Attributes:
        limit: Its name, e.g. ``ingress.total``.
        bytes_per_s: The limit; ``None``: it was lifted.
        origin: Where it was set.
        configured_bytes_per_s: The configured limit for this time of day; ``None``: none.
        left_s: How long it applies; ``None``: until it is changed.
    """

    limit: str
    bytes_per_s: int | None
    origin: LimitOrigin
    configured_bytes_per_s: int | None = None
    left_s: float | None = None


class YieldView(msgspec.Struct, frozen=True, kw_only=True):
    """How background recoveries give way to other traffic.

    Attributes:
        interface: The interface that is watched.
        link_bytes_per_s: Capacity of its link; ``None``: not known yet.
        ingress_bytes_per_s: What they may receive now; ``None``: nothing is measured yet.
        egress_bytes_per_s: What may be sent for them.
    """

    interface: str
    link_bytes_per_s: int | None
    ingress_bytes_per_s: int | None = None
    egress_bytes_per_s: int | None = None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """All limits at one moment; what is not listed is not limited.

    Attributes:
        limits: Sorted by name.
        throttled_s: How long bodies have waited for a limit, by direction and class.
        yielding: The interface on which background traffic gives way; ``None``: on none.
    """

    limits: tuple[LimitRow, ...]
    throttled_s: dict[str, dict[str, float]]
    yielding: YieldView | None = None


class ChangeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set limits in the running daemon, or go back to the configured ones.

    Attributes:
        set: Rates by name, e.g. ``{"ingress.total": "400MiB/s"}``; ``unlimited`` lifts a limit.
        unset: Names of limits to take from the configuration again.
        for_s: How long the new limits apply; ``None``: until they are unset or the daemon restarts.
    """

    set: Annotated[dict[str, str], msgspec.Meta(max_length=CHANGES_MAX)] = {}
    unset: Annotated[tuple[str, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    for_s: Annotated[float, msgspec.Meta(gt=0, le=PATIENCE_MAX_S)] | None = None
