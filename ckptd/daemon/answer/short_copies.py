"""Why there are fewer copies of a version than asked, as sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ckptd.copies.decided import Shortfall
from ckptd.copies.fleet import FleetView
from ckptd.copies.zones import zone_text
from ckptd.model.ids import NodeId
from ckptd.model.quantities import format_duration
from ckptd.model.words import ShortBecause

_NODES_NAMED_MAX: Final = 4


def why_short(found: Shortfall, view: FleetView, until_s: float | None) -> str:
    """Say why copies are missing, or too close together.

    Args:
        found: What is missing of what.
        view: What this node knows.
        until_s: When something else is done about it; ``None``: not by time alone.
    """
    nodes = found.nodes
    until = "after the grace time" if until_s is None else f"in {format_duration(until_s)}"
    sentences: Mapping[ShortBecause, str] = {
        ShortBecause.SOURCES: "nobody who answers has all of it",
        ShortBecause.LOST: f"{_lost(nodes, view)}, replaced {until}",
        ShortBecause.UNPROVEN: awaited_audit(nodes),
        ShortBecause.COMING: _fetching(nodes),
        ShortBecause.FULL: f"{_named(nodes)} {_are(nodes)} full",
        ShortBecause.MEMBERS: _few(found, view),
        ShortBecause.ZONES: f"enough copies, but in fewer zones than is possible{_moving(nodes)}",
    }
    return sentences[found.why]


def awaited_audit(nodes: Sequence[NodeId]) -> str:
    """Say that claims of nodes are not proven yet."""
    return f"waiting for an audit of {_named(nodes)}"


def _lost(nodes: Sequence[NodeId], view: FleetView) -> str:
    """Name who is lost: the zone, if all of several nodes there are."""
    zones = {view.nodes[node].zone for node in nodes if node in view.nodes}
    if len(zones) == 1 and (zone := next(iter(zones))):
        there = [each for each in view.nodes.values() if each.zone == zone]
        if len(there) > 1 and not any(each.is_live for each in there):
            return f"zone {zone_text(zone)} is lost"
    return f"{_named(nodes)} {_are(nodes)} lost"


def _few(found: Shortfall, view: FleetView) -> str:
    """Say that there are too few nodes for so many copies."""
    members = view.members.get(found.checkpoint, ())
    keep = "1 node keeps" if len(members) == 1 else f"{len(members)} nodes keep"
    if len(members) < found.asked:
        return f"only {keep} copies of it"
    known = [view.nodes[node] for node in members if node in view.nodes]
    able = [each for each in known if each.is_live and not each.is_blamed]
    return f"{keep} copies of it, of which {len(able)} can take one"


def _moving(nodes: Sequence[NodeId]) -> str:
    return f"; {_fetching(nodes)}" if nodes else ""


def _fetching(nodes: Sequence[NodeId]) -> str:
    return f"{_named(nodes)} {'fetches' if len(nodes) == 1 else 'fetch'} it"


def _are(nodes: Sequence[NodeId]) -> str:
    return "is" if len(nodes) == 1 else "are"


def _named(nodes: Sequence[NodeId]) -> str:
    if not nodes:
        return "somebody"
    more = len(nodes) - _NODES_NAMED_MAX
    return ", ".join(nodes[:_NODES_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
