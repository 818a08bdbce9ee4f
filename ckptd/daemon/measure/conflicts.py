"""How many versions have several contents: counted, and each said once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ckptd.core.peers.conflicts import Conflicts, Contested, Said, find_conflicts
from ckptd.model.ids import CheckpointName, NodeId, Version, shortened
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauge

CONFLICT_METRICS: Final[Sequence[MetricRow[Conflicts]]] = (
    gauge(
        "version_conflicts",
        "Versions of which this node and its peers hold several contents.",
        lambda conflicts: conflicts.count,
    ),
)

_log = get_logger()


class ConflictWatch:
    """Looks now and then for versions with several contents.

    Args:
        node: This node.
        said: Returns what it and its peers hold.
    """

    def __init__(self, node: NodeId, said: Callable[[], Said]) -> None:
        self._node = node
        self._said = said
        self._known: frozenset[tuple[CheckpointName, Version]] = frozenset()
        self._conflicts = Conflicts()

    @property
    def conflicts(self) -> Conflicts:
        """What was found last."""
        return self._conflicts

    async def look(self) -> Conflicts:
        """Look now, in a thread: a large cluster has a million holdings."""
        said = self._said()
        self._conflicts = await asyncio.to_thread(find_conflicts, said, own=self._node)
        named = {(each.checkpoint, each.version): each for each in self._conflicts.named}
        for key in sorted(named.keys() - self._known):
            _log.warning("version.conflict", **_spelled(named[key]))
        self._known = frozenset(named)
        return self._conflicts


def _spelled(contested: Contested) -> dict[str, object]:
    return {
        "checkpoint": contested.checkpoint,
        "version": contested.version,
        "contents": "; ".join(
            f"{shortened(rival.digest)} at {', '.join(rival.nodes)}" for rival in contested.rivals
        ),
    }
