"""What has to be here first of a version."""

from __future__ import annotations

import msgspec


class MinimalSetView(msgspec.Struct, frozen=True, kw_only=True):
    """The minimal viable set: the units of the first phase.

    Attributes:
        phase: The name of the phase; ``all`` if the publisher named none.
        units: How many units.
        bytes: How long they are together.
        is_everything: The version has no other units: nobody said what is useful without the rest.
        predicted_s: Seconds until it is there; ``None``: not known. Of a plan, those of a recovery
            here. Of what is held or published here, those of one on a peer that gets it from this
            node alone, as fast as the fastest path to a peer was found to be, within the limit of
            what this node sends.
    """

    phase: str
    units: int
    bytes: int
    is_everything: bool
    predicted_s: float | None = None
