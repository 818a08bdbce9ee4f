"""How urgent bytes are on their way: the class of a request."""

from __future__ import annotations

import enum

from ckptd.model.manifest import Criticality


class Urgency(enum.IntEnum):
    """The class of a request; a lower number goes first.

    The first three are :class:`~ckptd.model.manifest.Criticality`; a recovery in the background
    is less urgent than all of them, whatever it fetches.
    """

    CRITICAL = 0
    NORMAL = 1
    DEFERRED = 2
    BACKGROUND = 3

    @classmethod
    def of(cls, criticality: Criticality, *, is_background: bool) -> Urgency:
        """Return the class of a request for a range."""
        return cls.BACKGROUND if is_background else cls(criticality)

    @property
    def label(self) -> str:
        """The word that people, requests and metrics use."""
        return self.name.lower()
