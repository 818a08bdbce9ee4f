"""Says which milestones a recovery has reached, to those who watch it."""

from __future__ import annotations

from typing import Final

from ckptd.control.messages.recovery_results import RecoveryMilestone, RecoveryResult
from ckptd.control.messages.running_recoveries import RecoveryView

_PHASES_MIN: Final = 2
"""The only phase of a version is the version."""


def reached(seen: RecoveryView | RecoveryResult) -> tuple[RecoveryMilestone, ...]:
    """Return what a recovery has reached, in the order in which that happened.

    Args:
        seen: The recovery at one moment, or how it ended.
    """
    found = [("critical.complete", "", seen.critical_after_s)]
    for phase in seen.phases if len(seen.phases) >= _PHASES_MIN else ():
        found.append(("phase.complete", phase.name, phase.complete_after_s))
        found.append(("phase.placed", phase.name, phase.placed_after_s))
    messages = [
        RecoveryMilestone(recovery=seen.recovery, event=event, phase=name, after_s=after_s)
        for event, name, after_s in found
        if after_s is not None
    ]
    return tuple(sorted(messages, key=lambda message: message.after_s))


class Announced:
    """What one who watches a recovery has heard of."""

    def __init__(self) -> None:
        self._said: frozenset[tuple[str, str]] = frozenset()  # not when: that is rounded

    def news(self, seen: RecoveryView | RecoveryResult) -> list[RecoveryMilestone]:
        """Return what was not said yet; what does not hold any more may be said again.

        Args:
            seen: The recovery at one moment, or how it ended.
        """
        found, said = reached(seen), self._said
        self._said = frozenset((message.event, message.phase) for message in found)
        return [message for message in found if (message.event, message.phase) not in said]
