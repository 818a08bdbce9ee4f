"""Whether the wall clocks of this node and of its peers can be believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.errors import CkptdError
from ckptd.net.inquiry import Inquirer

_CLOCK_OFF_S: Final = 5.0
"""More than a second of resolution and the way there and back; NTP keeps clocks much closer."""
_ANSWER_S: Final = 3.0


class Clock:
    """The wall clock, as it was when the daemon started and as it is now.

    Args:
        wall_clock: Unix time.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._ahead_s = wall_clock() - time.monotonic()

    def judge(self) -> CheckRow:
        """Say whether it was set since the daemon started."""
        drift_s = self._wall_clock() - time.monotonic() - self._ahead_s
        if abs(drift_s) > _CLOCK_OFF_S:
            return warned(
                "clock",
                "this node",
                f"was set {drift_s:+.0f} s since the daemon started",
                "Recoveries do not depend on it, times in logs do; see 'timedatectl'.",
            )
        return passed("clock", "this node", "runs evenly since the daemon started")

    async def compare(
        self, name: str, address: tuple[str, int], inquirer: Inquirer
    ) -> CheckRow | None:
        """Say how far the clock of a peer is off, if it is and if the peer says.

        Args:
            name: What people call the peer.
            address: Where it answers.
            inquirer: Asks it.
        """
        apart_s = await self._seconds_apart(address, inquirer)
        if apart_s is None or abs(apart_s) <= _CLOCK_OFF_S:
            return None
        return warned(
            "clock",
            name,
            f"is {apart_s:+.0f} s from this node",
            "Let both follow one time server; certificates and logs depend on it.",
        )

    async def _seconds_apart(self, address: tuple[str, int], inquirer: Inquirer) -> float | None:
        """Return how far a peer's clock is ahead, to a second; ``None`` if it does not say."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                before_s = self._wall_clock()
                date = await inquirer.date(address)
                middle_s = (before_s + self._wall_clock()) / 2
            # A date has no fractions: on average the moment is half a second later.
            return parsedate_to_datetime(date).timestamp() + 0.5 - middle_s
        except (CkptdError, OSError, ValueError, OverflowError):
            return None
