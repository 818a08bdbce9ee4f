"""Whether timers of TCP cost this node more than they bring when it is a source."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.quantities import format_size
from ckptd.net.source.congestion import Congestion, PacedSending

_REMEDY: Final = 'Set transport.congestion_control = "auto", and reload.'
_REMEDY_OF_ROOT: Final = (
    "Let root add cubic to net.ipv4.tcp_allowed_congestion_control, and reload."
)


async def look_at_congestion(
    paced: Callable[[], tuple[Congestion, PacedSending]],
) -> AsyncGenerator[CheckRow, None]:
    """Yield what is said of the congestion control.

    Args:
        paced: Returns with what is sent, and what its timers paced without need.
    """
    congestion, sending = paced()
    yield judge_congestion(str(congestion), sending, is_auto=congestion.is_auto)


def judge_congestion(control: str, paced: PacedSending, *, is_auto: bool) -> CheckRow:
    """Judge what timers cost this node as a source.

    Args:
        control: With what is sent, for people.
        paced: What its timers paced over short paths.
        is_auto: The round trip decides already, where it can.
    """
    if not paced.connections:
        return passed("congestion", "bodies sent", f"congestion control: {control}")
    return warned(
        "congestion",
        "bodies sent",
        f"timers of {paced.control} paced {format_size(paced.size_bytes)} over"
        f" {paced.connections} connections with a round trip of {paced.rtt_us_max / 1000:.2f} ms at"
        " most: so short, they cost a source processor time and bring nothing",
        _REMEDY_OF_ROOT if is_auto else _REMEDY,
    )
