"""Moments that outlive a process: on the monotonic clock of one boot of the machine.

That clock goes on while no daemon runs, and nobody can set it. Over a reboot nothing is known.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class BootMoment(NamedTuple):
    """A moment on the monotonic clock of one boot of the machine.

    Attributes:
        boot: Which boot; empty: not known, and never the same as another one.
        at_ns: When; before the boot if negative.
    """

    boot: str
    at_ns: int

    def since_ns(self, then: BootMoment) -> int | None:
        """Return how long ago another moment was; ``None`` if it was in another boot.

        Never negative: containers can have clocks of their own.
        """
        if not self.boot or self.boot != then.boot:
            return None
        return max(self.at_ns - then.at_ns, 0)


UNKNOWN: Final = BootMoment("", 0)
