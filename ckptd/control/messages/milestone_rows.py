"""How far the phases of a recovery are, and when something of it was of use."""

from __future__ import annotations

import msgspec


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a recovery, of which something is wanted.

    Attributes:
        name: Its name; ``all`` if the publisher named none.
        units: Units of it that are wanted.
        bytes_total: Length of these.
        bytes_left: What of them is missing.
        complete_after_s: From the request until the last of them was durable here; ``None``: not
            yet.
        placed_after_s: Until they stood under their final names; ``None``: not yet.
    """

    name: str
    units: int
    bytes_total: int
    bytes_left: int
    complete_after_s: float | None
    placed_after_s: float | None


def usable_after_s(phases: tuple[PhaseRow, ...]) -> float | None:
    """Return when the first phase stood under its final names; ``None``: it does not yet."""
    return phases[0].placed_after_s if phases else None
