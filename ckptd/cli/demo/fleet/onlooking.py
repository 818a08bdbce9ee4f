"""Records what every node holds, by what it says itself, while the demonstration goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.demo.fleet.samples import JOB, Held, Origin, Sample
from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import CheckpointRow, PlaceRow
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.model.shards import split_shard
from ckptd.model.words import PlaceState

SAMPLE_EVERY_S: Final = 0.5
_PATIENCE_S: Final = 10.0
"""So long one node may take to answer; it counts as gone for that sample then."""
_ENDED_S: Final = 30.0


class Onlooker:
    """Asks all nodes in turn for as long as the context lasts.

    Args:
        nodes: Whom to ask.

    Attributes:
        samples: What was seen; more is added at the end.
        began_s: When it began, by ``time.monotonic()``.
    """

    def __init__(self, nodes: Sequence[LocalDaemon]) -> None:
        self.samples: list[Sample] = []
        self.began_s = time.monotonic()
        self._nodes = nodes
        self._clients = [ControlClient(node.client.socket_path) for node in nodes]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="onlooker", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._is_over.set()
        self._thread.join(_ENDED_S)

    def elapsed_s(self) -> float:
        """Return how long ago it began."""
        return time.monotonic() - self.began_s

    def look(self) -> Sample:
        """Ask all nodes once."""
        at_s = self.elapsed_s()
        found = {}
        for node, client in zip(self._nodes, self._clients, strict=True):
            if not node.is_running:
                continue
            try:
                rows = client.until(time.monotonic() + _PATIENCE_S).checkpoints()
            except (CkptdError, TimeoutError):  # killed just now, or not ready yet
                continue
            found[node.node] = tuple(held_by(rows))
        return Sample(at_s, found)

    def _look_on(self) -> None:
        while not self._is_over.wait(SAMPLE_EVERY_S):
            self.samples.append(self.look())


def held_by(rows: Iterable[CheckpointRow]) -> Iterable[Held]:
    """Return what a node holds of the job and offers to others, by what it says."""
    for row in rows:
        split = split_shard(CheckpointName(row.checkpoint))
        if split is None or split[0] != JOB:
            continue
        for place in row.places:
            if place.state is PlaceState.HERE:
                yield Held(
                    split[1].index, row.version, _origin(place), place.directory, place.added_at_s
                )


def _origin(place: PlaceRow) -> Origin:
    if place.is_copy:
        return Origin.COPIED
    return Origin.SAVED if place.is_published else Origin.RECOVERED
