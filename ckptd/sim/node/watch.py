"""What can be seen of a node from outside, while it happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import Event
from ckptd.model.blocks import BlockRun

if TYPE_CHECKING:
    from ckptd.sim.node.node import Node


class Watch:
    """Sees everything and does nothing; checkers look at what concerns them."""

    def started(self, node: Node) -> None:
        """See a daemon start: with no memory but its journal."""

    def stopped(self, node: Node) -> None:
        """See a daemon end without a word."""

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """See blocks come off a lane, before anybody is told."""

    def handled(self, node: Node, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """See events and what was ordered because of them, before that is carried out."""


class Watches(Watch):
    """Several watchers, one after another."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = watches

    def started(self, node: Node) -> None:
        """Let all see it."""
        for watch in self._watches:
            watch.started(node)

    def stopped(self, node: Node) -> None:
        """Let all see it."""
        for watch in self._watches:
            watch.stopped(node)

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """Let all see it."""
        for watch in self._watches:
            watch.delivered(node, order, run, bad)

    def handled(self, node: Node, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Let all see it."""
        for watch in self._watches:
            watch.handled(node, events, effects)
