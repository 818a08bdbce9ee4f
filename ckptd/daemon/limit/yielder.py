"""Lets recoveries in the background give way to everything else on a network interface."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from ckptd.control.messages.limit_settings import YieldView
from ckptd.daemon.host.interface import carried, speed_bytes_per_s
from ckptd.errors import NotFound
from ckptd.limits import SECOND
from ckptd.model.words import Direction, Urgency
from ckptd.net.throttle import Throttle
from ckptd.traffic.allowance import Yielding

_NAME: Final = "interface"


class Yielder:
    """Measures what an interface carries and says how much of that the background may be.

    The other traffic is whatever is not of the background, this node's own urgent bodies too.

    Args:
        interface: Its name.
        link_bytes_per_s: What it carries; ``None``: what the system says.
        throttles: Keep to what is said.
    """

    def __init__(
        self, interface: str, link_bytes_per_s: int | None, throttles: Mapping[Direction, Throttle]
    ) -> None:
        self._interface = interface
        self._link_bytes_per_s = link_bytes_per_s or speed_bytes_per_s(interface)
        directions = (Direction.INGRESS, Direction.EGRESS)
        self._throttles = {direction: throttles[direction] for direction in directions}
        # What the system says is what the card could do; the path may carry less.
        self._yielding = {
            direction: Yielding(self._link_bytes_per_s, is_certain=link_bytes_per_s is not None)
            for direction in directions
        }
        self._looked_ns = time.monotonic_ns()
        self._seen: Mapping[Direction, tuple[int, int]] | None = None
        for direction, yielding in self._yielding.items():
            self._allow(direction, yielding.allowance_bytes_per_s)

    def end(self) -> None:
        """Let the background use what it likes."""
        for direction in self._throttles:
            self._allow(direction, None)

    def view(self) -> YieldView:
        """Return what it does."""
        is_measured = self._seen is not None
        ingress, egress = (known.allowance_bytes_per_s for known in self._yielding.values())
        return YieldView(
            interface=self._interface,
            link_bytes_per_s=self._link_bytes_per_s,
            ingress_bytes_per_s=ingress if is_measured else None,
            egress_bytes_per_s=egress if is_measured else None,
        )

    def measure(self) -> None:
        """Look at the counters; to be called every 100 ms."""
        try:
            counted = carried(self._interface)
        except NotFound:  # it is gone: nobody to give way to, and it may come back
            self._seen = None
            return
        now = time.monotonic_ns()
        seen = {
            Direction.INGRESS: (counted.received_bytes, self._moved(Direction.INGRESS)),
            Direction.EGRESS: (counted.sent_bytes, self._moved(Direction.EGRESS)),
        }
        elapsed_ns, before = now - self._looked_ns, self._seen
        self._looked_ns, self._seen = now, seen
        if before is None or elapsed_ns <= 0:
            return
        for direction, yielding in self._yielding.items():
            total, used = (
                (late - early) * SECOND / elapsed_ns
                for late, early in zip(seen[direction], before[direction], strict=True)
            )
            others = max(total - used, 0.0)
            self._allow(direction, yielding.observe(others, used, now=now))

    def _moved(self, direction: Direction) -> int:
        return self._throttles[direction].moved_bytes[Urgency.BACKGROUND]

    def _allow(self, direction: Direction, rate_bytes_per_s: int | None) -> None:
        self._throttles[direction].allow(_NAME, Urgency.BACKGROUND, rate_bytes_per_s)
