"""What crosses the control socket about limits on what may move in a second."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ckptd.limits import PATIENCE_MAX_S
from ckptd.model.words import LimitOrigin

CHANGES_MAX = 256
"""Limits that one request changes."""


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that counts now.

    Attributes:
        limit: Its name, e.g. ``ingress.total``.
        bytes_per_s: How much; ``None``: somebody lifted it.
        origin: Where that comes from.
        configured_bytes_per_s: What the configuration says at this time of day; ``None``: nothing.
        left_s: For how long it counts; ``None``: until somebody changes it.
    """

    limit: str
    bytes_per_s: int | None
    origin: LimitOrigin
    configured_bytes_per_s: int | None = None
    left_s: float | None = None


class YieldView(msgspec.Struct, frozen=True, kw_only=True):
    """How recoveries in the background give way to other traffic.

    Attributes:
        interface: To whose.
        link_bytes_per_s: What it carries; ``None``: that is being found out.
        ingress_bytes_per_s: What they may receive now; ``None``: nothing is measured yet.
        egress_bytes_per_s: What may be sent for them.
    """

    interface: str
    link_bytes_per_s: int | None
    ingress_bytes_per_s: int | None = None
    egress_bytes_per_s: int | None = None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """All limits at one moment; what is not there is not limited.

    Attributes:
        limits: By name.
        throttled_s: For how long bodies have waited, by direction and class.
        yielding: To which interface the background gives way; ``None``: to none.
    """

    limits: tuple[LimitRow, ...]
    throttled_s: dict[str, dict[str, float]]
    yielding: YieldView | None = None


class ChangeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set limits in the running daemon, or forget what was set there.

    Attributes:
        set: Rates by name, e.g. ``{"ingress.total": "400MiB/s"}``; ``unlimited`` lifts a limit.
        unset: Names of limits for which the configuration counts again.
        for_s: How long what is set counts; ``None``: until it is unset or the daemon restarts.
    """

    set: Annotated[dict[str, str], msgspec.Meta(max_length=CHANGES_MAX)] = {}
    unset: Annotated[tuple[str, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    for_s: Annotated[float, msgspec.Meta(gt=0, le=PATIENCE_MAX_S)] | None = None
