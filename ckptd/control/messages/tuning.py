"""Every number that the scheduler works out by itself for a source."""

from __future__ import annotations

import msgspec


class SourceTuning(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler has worked out for a source of a recovery. Nobody is meant to set these.

    Attributes:
        latency_s: Usual time to a first byte; ``None``: not known yet.
        gap_s: Usual time between two reports of progress.
        window_s: It is given no more work than it does in this time …
        window_bytes: … which is so much.
        range_bytes: How much is asked for at once.
        silence_timeout_s: A lane that delivers nothing for so long in a body is closed …
        first_byte_timeout_s: … and one that does not begin one for so long.
        hedge_after_s: After this silence a second source is asked for its critical range that is
            under way; ``None``: there is none, or it has been.
        back_off_s: It is left alone for so long from now.
        load_bytes: What it says it has to send to others.
        lanes: Connections of this recovery to it.
        transfers: Ranges of this recovery in flight from it.
    """

    latency_s: float | None
    gap_s: float
    window_s: float
    window_bytes: int
    range_bytes: int
    silence_timeout_s: float
    first_byte_timeout_s: float
    hedge_after_s: float | None
    back_off_s: float
    load_bytes: int
    lanes: int
    transfers: int
