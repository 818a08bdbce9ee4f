"""What is said of copies: numbers that were counted, and words that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replace_shortfall

import pytest
from msgspec.structs import replace

from ckptd.config.copy_values import CheckpointCopies, CopiesSection
from ckptd.control.messages.copies import CopiesRequest, CopiesView, exit_code_of_copies
from ckptd.copies.decided import Decided, GiveBack, Pull, Shortfall
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, Room
from ckptd.copies.zones import Zone
from ckptd.daemon.answer import copies_answers
from ckptd.daemon.answer.copies_answers import CopiesAnswers, CopiesSeen, KnownCopies
from ckptd.errors import ExitCode
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import (
    CopiedBecause,
    CopiesState,
    Criticality,
    GivenBackBecause,
    ShortBecause,
)

A, B, C, D = (NodeId(f"node-{letter}") for letter in "abcd")
LLAMA = CheckpointName("llama")
ALL, SOME = Criticality.DEFERRED, Criticality.CRITICAL
NOW = 1000 * SECOND
SECTION = CopiesSection(
    names=("llama*",), root="copies", quota_bytes=100, critical=2, normal=1, deferred=1
)
SIZES = {Criticality.CRITICAL: 10, Criticality.DEFERRED: 30}


def claim(node: NodeId, least: Criticality | None = ALL, *, is_proven: bool = True) -> Claim:
    return Claim(node, least, is_proven)


def version(
    number: int, *claims: Claim, name: CheckpointName = LLAMA, digest: str = ""
) -> FleetVersion:
    identity = Digest(digest or f"{number:064x}")
    return FleetVersion(name, Version(number), identity, SIZES, claims)


def seen(
    *versions: FleetVersion,
    section: CopiesSection = SECTION,
    zones: Mapping[NodeId, Zone] | None = None,
    lost: tuple[NodeId, ...] = (),
    short: tuple[Shortfall, ...] = (),
    decided: Decided | None = None,
    all_asked: bool = True,
) -> CopiesSeen:
    where = {node: (zones or {}).get(node, ()) for node in (A, B, C, D)}
    nodes = {
        node: FleetNode(node, zone, node not in lost, NOW - 180 * SECOND if node in lost else None)
        for node, zone in where.items()
    }
    view = FleetView(
        own=A,
        rule_of=section.rule_of,
        nodes=nodes,
        members={each.checkpoint: (A, B, D) for each in versions},
        versions=versions,
        room=Room(100, 40),
        all_asked=all_asked,
    )
    return CopiesSeen(view, decided or Decided(short=short), NOW - 2 * SECOND)


async def answer(
    found: CopiesSeen | None,
    name: str | None = None,
    section: CopiesSection = SECTION,
    *,
    obstacle: str = "",
) -> CopiesView:
    known = KnownCopies(section, lambda: ("r1",), lambda: NOW)
    known.seen = lambda: found
    known.obstacle = lambda: obstacle
    return await CopiesAnswers(known).copies(CopiesRequest(name=name))


def shortfall(
    number: int,
    why: ShortBecause,
    *nodes: NodeId,
    until_ns: int | None = None,
    criticality: Criticality = SOME,
) -> Shortfall:
    digest = Digest(f"{number:064x}")
    return Shortfall(LLAMA, Version(number), digest, criticality, 2, 1, 1, 1, why, nodes, until_ns)


async def test_before_anything_was_looked_at_nothing_is_known() -> None:
    view = await answer(None)
    assert (view.age_s, view.versions, view.is_settled) == (None, (), False)
    assert exit_code_of_copies(view) is ExitCode.FAILED


async def test_copies_that_are_proven_on_live_nodes_count() -> None:
    view = await answer(seen(version(7, claim(A), claim(B, SOME), claim(C, is_proven=False))))
    (row,) = view.versions
    assert [(each.criticality, each.asked, each.proven, each.claimed) for each in row.counts] == [
        ("critical", 2, 2, 3),
        ("deferred", 1, 1, 2),
    ]
    assert (row.state, row.size_bytes, view.whole) == (CopiesState.WHOLE, 40, 1)
    assert [(each.node, each.least, each.is_proven) for each in row.holders] == [
        (A, "deferred", True),
        (B, "critical", True),
        (C, "deferred", False),
    ]
    assert exit_code_of_copies(view) is ExitCode.DONE


async def test_a_class_without_units_asks_for_nothing_and_what_is_before_it_is_whole() -> None:
    """Who has all of two classes says so by either, if there are no units between."""
    view = await answer(seen(version(7, claim(A), claim(B, Criticality.NORMAL))))
    (row,) = view.versions
    assert [(each.criticality, each.proven) for each in row.counts] == [
        ("critical", 2),
        ("deferred", 1),
    ]


@pytest.mark.parametrize(
    ("claims", "lost", "short", "state", "why"),
    [
        (
            (claim(A), claim(B, is_proven=False)),
            (),
            (),
            CopiesState.UNPROVEN,
            "waiting for an audit of node-b",
        ),
        (
            (claim(A), claim(B, is_proven=False)),
            (),
            (shortfall(7, ShortBecause.UNPROVEN, B),),
            CopiesState.UNPROVEN,
            "waiting for an audit of node-b",
        ),
        ((claim(A),), (), (), CopiesState.UNDER_REPLICATED, ""),
        (
            (claim(A), claim(D)),
            (D,),
            (shortfall(7, ShortBecause.LOST, D, until_ns=NOW + 420 * SECOND),),
            CopiesState.UNDER_REPLICATED,
            "node-d is lost, replaced in 7m00s",
        ),
        (
            (claim(A),),
            (),
            (shortfall(7, ShortBecause.COMING, C),),
            CopiesState.UNDER_REPLICATED,
            "node-c fetches it",
        ),
        (
            (claim(A),),
            (),
            (shortfall(7, ShortBecause.FULL, C, D),),
            CopiesState.UNDER_REPLICATED,
            "node-c, node-d are full",
        ),
        (
            (claim(A),),
            (),
            (shortfall(7, ShortBecause.MEMBERS, A),),
            CopiesState.UNDER_REPLICATED,
            "3 nodes keep copies of it, of which 3 can take one",
        ),
        (
            (claim(A), claim(B)),
            (),
            (shortfall(7, ShortBecause.ZONES, C),),
            CopiesState.TOO_CLOSE,
            "enough copies, but in fewer zones than is possible; node-c fetches it",
        ),
        (
            (),
            (),
            (shortfall(7, ShortBecause.SOURCES),),
            CopiesState.UNDER_REPLICATED,
            "nobody who answers has all of it",
        ),
        (
            (claim(A), claim(B)),
            (),
            (shortfall(7, ShortBecause.ZONES),),
            CopiesState.TOO_CLOSE,
            "enough copies, but in fewer zones than is possible",
        ),
        ((claim(A), claim(B)), (), (shortfall(7, ShortBecause.LOST),), CopiesState.WHOLE, ""),
    ],
)
async def test_what_is_short_is_said_with_why(
    claims: tuple[Claim, ...],
    lost: tuple[NodeId, ...],
    short: tuple[Shortfall, ...],
    state: CopiesState,
    why: str,
) -> None:
    view = await answer(seen(version(7, *claims), lost=lost, short=short))
    (row,) = view.versions
    critical = row.counts[0]
    assert (critical.state, critical.why) == (state, why)
    expected = ExitCode.DONE if row.state is CopiesState.WHOLE else ExitCode.PARTIAL
    assert exit_code_of_copies(view) is expected


async def test_a_zone_that_is_lost_as_a_whole_is_named() -> None:
    zones = {A: ("r1",), B: ("r2",), C: ("r3",), D: ("r3",)}
    short = (shortfall(7, ShortBecause.LOST, D, until_ns=NOW + 420 * SECOND),)
    found = seen(version(7, claim(A), claim(D)), zones=zones, lost=(C, D), short=short)
    assert (await answer(found)).versions[0].counts[0].why == "zone r3 is lost, replaced in 7m00s"
    found = seen(version(7, claim(A), claim(D)), zones=zones, lost=(D,), short=short)
    assert (await answer(found)).versions[0].counts[0].why == "node-d is lost, replaced in 7m00s"


async def test_zones_that_are_not_known_are_not_counted_as_zones() -> None:
    zones = {A: ("r1", "x"), B: ("r1", "y")}
    view = await answer(seen(version(7, claim(A), claim(B), claim(C)), zones=zones))
    critical = view.versions[0].counts[0]
    assert (critical.zones, critical.unknown_zones) == (2, 1)


async def test_the_newest_that_are_kept_are_shown_and_what_is_short() -> None:
    """Newer ones that nobody has whole push nothing out."""
    whole = tuple(version(number, claim(A), claim(B)) for number in (1, 2, 3, 4))
    newest = version(5, claim(C, is_proven=False))
    short = (shortfall(1, ShortBecause.COMING, C),)
    view = await answer(seen(*whole, newest, short=short))
    assert sorted(each.version for each in view.versions) == [1, 3, 4, 5]


async def test_rivals_of_a_kept_version_are_shown() -> None:
    rivals = (version(4, claim(A)), version(4, claim(B), digest="f" * 64))
    view = await answer(seen(*rivals, version(3, claim(A)), version(2, claim(A))))
    assert sorted(each.version for each in view.versions) == [3, 4, 4]


async def test_the_worst_comes_first_and_only_so_many_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copies_answers, "VERSIONS_SHOWN_MAX", 2)
    names = [CheckpointName(f"llama-{letter}") for letter in "abc"]
    claims = ((claim(A), claim(B)), (claim(A), claim(B, is_proven=False)), (claim(A),))
    versions = [version(7, *each, name=name) for each, name in zip(claims, names, strict=True)]
    view = await answer(seen(*versions))
    assert [each.checkpoint for each in view.versions] == ["llama-c", "llama-b"]
    assert (view.left_out, view.checkpoints) == (1, 3)
    assert (view.whole, view.unproven, view.under_replicated) == (1, 1, 1)


async def test_only_what_is_listed_and_asked_for_is_shown() -> None:
    shard = CheckpointName("llama/shard-0-of-2")
    found = seen(
        version(7, claim(A), name=CheckpointName("other")),
        version(7, claim(A), name=shard),
        version(7, claim(A)),
    )
    assert [each.checkpoint for each in (await answer(found)).versions] == ["llama", shard]
    assert [each.checkpoint for each in (await answer(found, "llama")).versions] == ["llama", shard]
    assert [each.checkpoint for each in (await answer(found, shard)).versions] == [shard]
    assert (await answer(found, "other")).versions == ()


async def test_counts_of_some_checkpoints_are_others() -> None:
    section = CopiesSection(
        names=("llama*",),
        root="copies",
        quota_bytes=100,
        checkpoints={"llama": CheckpointCopies(critical=1, normal=1, deferred=0, keep=1)},
    )
    view = await answer(seen(version(7, claim(A)), version(6, claim(A)), section=section))
    (row,) = view.versions
    assert [(each.asked, each.state) for each in row.counts] == [
        (1, CopiesState.WHOLE),
        (0, CopiesState.WHOLE),
    ]


async def test_what_this_node_does_about_it_is_said() -> None:
    one, two = version(7, claim(A)), version(6, claim(A), claim(B), claim(C))
    decided = Decided(
        pulls=(Pull(LLAMA, one.version, one.digest, ALL, CopiedBecause.GROWS),),
        give_back=(GiveBack(LLAMA, two.version, two.digest, GivenBackBecause.SURPLUS),),
        is_full=True,
    )
    view = await answer(seen(one, two, decided=decided))
    said = {each.version: (each.fetched_because, each.given_back_because) for each in view.versions}
    assert said == {7: (CopiedBecause.GROWS, None), 6: (None, GivenBackBecause.SURPLUS)}
    assert (view.is_full, view.used_bytes, view.quota_bytes, view.zone) == (True, 40, 100, "r1")


async def test_members_are_those_who_keep_what_is_shown() -> None:
    zones = {A: ("r1",), D: ("r3",)}
    view = await answer(seen(version(7, claim(A)), zones=zones, lost=(D,)))
    assert [(each.node, each.zone, each.is_live, each.lost_s) for each in view.members] == [
        (A, "r1", True, None),
        (B, "", True, None),
        (D, "r3", False, 180.0),
    ]


async def test_before_every_peer_was_heard_nothing_is_said_to_be_safe() -> None:
    view = await answer(seen(version(7, claim(A), claim(B)), all_asked=False))
    assert (view.whole, exit_code_of_copies(view)) == (1, ExitCode.FAILED)


async def test_what_is_in_the_way_is_said() -> None:
    one = version(7, claim(A))
    found = seen(one, version(6, claim(A), claim(B)))._replace(
        conflicts={(LLAMA, Version(8)), (CheckpointName("llama-2"), Version(1))},
        troubles={(LLAMA, Version(7)): "the disk is gone"},
    )
    view = await answer(found, "llama", obstacle="the database refuses")
    assert {each.version: each.trouble for each in view.versions} == {7: "the disk is gone", 6: ""}
    assert (view.conflicts, view.obstacle) == (("llama@8",), "the database refuses")
    assert exit_code_of_copies(view) is ExitCode.FAILED
    whole = await answer(found, "llama-2")
    assert (whole.versions, exit_code_of_copies(whole)) == ((), ExitCode.PARTIAL)


async def test_where_nothing_that_is_listed_is_known_nothing_is_said_to_be_safe() -> None:
    view = await answer(seen())
    assert (view.versions, exit_code_of_copies(view)) == ((), ExitCode.MISSING)


async def test_too_few_nodes_are_counted() -> None:
    section = replace(SECTION, critical=4)
    short = (replace_shortfall(shortfall(7, ShortBecause.MEMBERS), asked=4),)
    view = await answer(seen(version(7, claim(A)), section=section, short=short), section=section)
    assert view.versions[0].counts[0].why == "only 3 nodes keep copies of it"
