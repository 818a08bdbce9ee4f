"""Says what becomes of saves in watched directories."""

from __future__ import annotations

from ckptd.control.messages.watched import SaveRow, WatchedRow
from ckptd.daemon.keep.taking_saves import TakingSaves


class WatchedAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about watched directories.

    Args:
        taking: Publishes what is saved there.
    """

    def __init__(self, taking: TakingSaves) -> None:
        self._taking = taking

    def watches(self) -> list[WatchedRow]:
        """Return what was seen, what was taken, and why something was not."""
        return [
            WatchedRow(
                directory=each.rule.directory,
                checkpoint=each.rule.checkpoint,
                pattern=each.rule.pattern,
                taken=each.taken,
                gives_way=each.gives_way,
                obstacle=each.obstacle,
                saves=tuple(
                    SaveRow(
                        name=verdict.name,
                        version=verdict.version,
                        state=verdict.state,
                        why=verdict.why,
                        wait_s=round(verdict.wait_s, 3),
                    )
                    for verdict in each.verdicts
                ),
            )
            for each in self._taking.watched
        ]
