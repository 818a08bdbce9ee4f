from __future__ import annotations

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.decided import Shortfall
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import Claim, FleetNode, Room
from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality, ShortBecause
from tests.support.fleets import GRACE_NS, LAST, claim, fleet_version, fleet_view

START = 1000 * GRACE_NS
NODES = tuple(NodeId(each) for each in "abcd")
SIZES = {Criticality.CRITICAL: GIB}
A, B, C, D = NODES


def short(
    *claims: Claim, nodes: tuple[FleetNode, ...] = (), copies: int = 2, now: int = START
) -> Shortfall | None:
    """Return what node a says of one class, of which two copies are asked for."""
    known = {node: FleetNode(node) for node in NODES} | {each.node: each for each in nodes}
    view = fleet_view(
        "a",
        known.values(),
        fleet_version(*claims, sizes=SIZES),
        rule=CopyRule(CopyCounts(copies, copies, copies)),
    )
    found = Decider().decide(view, now=now).short
    assert len(found) <= 1
    return found[0] if found else None


def lost(node: NodeId, since_ns: int = START) -> FleetNode:
    return FleetNode(node, is_live=False, lost_since_ns=since_ns)


def test_nothing_is_short_when_there_are_as_many_as_asked() -> None:
    assert short(claim("a"), claim("b")) is None
    assert short(claim("a"), claim("b"), claim("c")) is None


def test_what_is_coming_says_from_whom() -> None:
    found = short(claim("a"))
    assert found is not None
    assert (found.asked, found.proven, found.claimed, found.zones) == (2, 1, 1, 1)
    assert (found.why, len(found.nodes)) == (ShortBecause.COMING, 1)
    assert found.nodes[0] in {B, C, D}


def test_a_lost_holder_is_named_and_when_it_is_replaced() -> None:
    found = short(claim("a"), claim("b"), nodes=(lost(B),))
    assert found is not None
    assert (found.why, found.nodes, found.until_ns) == (ShortBecause.LOST, (B,), START + GRACE_NS)
    assert (found.proven, found.claimed) == (1, 1)


def test_a_claim_that_waits_for_its_audit_is_named() -> None:
    found = short(claim("a"), claim("b", is_proven=False))
    assert found is not None
    assert (found.why, found.nodes) == (ShortBecause.UNPROVEN, (B,))
    assert (found.proven, found.claimed) == (1, 2)


def test_nodes_without_room_are_named() -> None:
    full = tuple(FleetNode(node, is_full=True) for node in (B, C, D))
    found = short(claim("a"), nodes=full)
    assert found is not None
    assert (found.why, found.nodes) == (ShortBecause.FULL, (B, C, D))


def test_too_few_members_are_no_fault_of_anybody() -> None:
    found = short(claim("a"), nodes=(lost(B, 0), lost(C, 0), lost(D, 0)))
    assert found is not None
    assert (found.why, found.nodes) == (ShortBecause.MEMBERS, ())


def test_what_nobody_has_any_more_is_said() -> None:
    other = {Criticality.CRITICAL: GIB, LAST: GIB}
    view = fleet_view(
        "a",
        [FleetNode(node) for node in NODES],
        fleet_version(claim("a", Criticality.CRITICAL), sizes=other),
        rule=CopyRule(CopyCounts(1, 1, 1)),
    )
    (found,) = Decider().decide(view, now=START).short
    assert (found.criticality, found.why, found.proven) == (LAST, ShortBecause.SOURCES, 0)


def test_enough_copies_in_too_few_zones_are_short_while_more_are_possible() -> None:
    zones = {A: ("x",), B: ("x",), C: ("y",), D: ("x",)}
    nodes = tuple(FleetNode(node, zone) for node, zone in zones.items())
    found = short(claim("a"), claim("b"), nodes=nodes)
    assert found is not None
    assert (found.why, found.nodes, found.zones) == (ShortBecause.ZONES, (C,), 1)
    assert short(claim("a"), claim("c"), nodes=nodes) is None


def test_a_zone_whose_only_node_is_this_one_without_room_is_not_possible() -> None:
    zones = {A: ("y",), B: ("x",), C: ("x",), D: ("x",)}
    for quota_bytes, is_short in ((GIB, True), (GIB - 1, False)):
        view = fleet_view(
            "a",
            [FleetNode(node, zone) for node, zone in zones.items()],
            fleet_version(claim("b"), claim("c"), sizes=SIZES),
            rule=CopyRule(CopyCounts(2, 2, 2)),
            room=Room(quota_bytes=quota_bytes),
        )
        assert bool(Decider().decide(view, now=START).short) is is_short
