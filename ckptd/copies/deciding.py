"""Decides which copies this node makes and gives back.

:class:`Decider` is asked every few seconds, and when something changed. It remembers between two
decisions who was chosen since when; after a restart it begins with nothing and comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.copies.decided import Decided, Pull
from ckptd.copies.fleet import FleetVersion, FleetView
from ckptd.copies.ordering import order
from ckptd.model.words import CopiedBecause, Criticality


class Decider:
    """Decides for one node, from what that node knows."""

    def decide(self, view: FleetView, *, now: int) -> Decided:
        """Decide what this node fetches and gives back.

        Args:
            view: What it knows.
            now: The moment, in nanoseconds.
        """
        del now
        return Decided(tuple(_pulls(view))) if view.all_asked else Decided()


def _pulls(view: FleetView) -> Iterator[Pull]:
    for version in sorted(view.versions, key=lambda each: -each.version):
        rule = view.rule_of(version.checkpoint)
        if rule is None:
            continue
        live = [
            claim
            for claim in version.claims
            if claim.node in view.nodes and view.nodes[claim.node].is_live
        ]
        holders = {claim.node: claim.least for claim in live if claim.least is not None}
        members = {
            node: view.nodes[node].zone
            for node in view.members.get(version.checkpoint, ())
            if node in view.nodes and view.nodes[node].is_live and node not in holders
        }
        candidates = order(version.checkpoint, members)
        for rank, node in enumerate(candidates):
            least = _next(version, rule.counts.at(len(holders) + rank))
            if node == view.own and least is not None:
                yield Pull(
                    version.checkpoint,
                    version.version,
                    version.digest,
                    least,
                    CopiedBecause.MISSING,
                )


def _next(version: FleetVersion, least: Criticality | None) -> Criticality | None:
    if least is None or not version.size_down_to(least):
        return None
    return (
        Criticality.DEFERRED
        if not any(size for each, size in version.sizes_bytes.items() if each > least)
        else least
    )
