"""What is said of copies that are asked for: what is short, and what cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ckptd.config import Config
from ckptd.config.copy_values import CheckpointCopies, CopiesSection
from ckptd.config.sections import NodeSection
from ckptd.control.messages.copies import CopiedVersion, CopiesView, CopyCount, CopyMember
from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.asked_copies import look_at_asked_copies
from ckptd.limits import MIB
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import CheckResult, CopiesState
from ckptd.store.files.roots import Root, Roots

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
A = NodeId("node-a")
SECTION = CopiesSection(names=("llama*",), root="copies", quota_bytes=MIB, critical=2)


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    root = Root.open("copies", str(tmp_path))
    yield Roots([root])
    root.close()


def member(node: str, zone: str = "") -> CopyMember:
    return CopyMember(
        node=node, zone=zone, is_live=True, lost_s=None, is_full=False, is_blamed=False
    )


def version(
    proven: int = 2,
    why: str = "",
    state: CopiesState = CopiesState.UNDER_REPLICATED,
    *,
    number: int = 7,
    trouble: str = "",
) -> CopiedVersion:
    count = CopyCount(
        criticality="critical",
        asked=2,
        proven=proven,
        claimed=proven,
        zones=1,
        unknown_zones=0,
        state=state,
        why=why,
    )
    return CopiedVersion(
        checkpoint="llama",
        version=number,
        digest="ab",
        size_bytes=1,
        state=state,
        counts=(count, replace(count, criticality="normal")),
        holders=(),
        trouble=trouble,
    )


WELL = CopiesView(
    names=("llama*",),
    zone="r1",
    root="copies",
    quota_bytes=MIB,
    used_bytes=MIB // 2,
    is_full=False,
    is_settled=True,
    age_s=1.0,
    obstacle="",
    checkpoints=1,
    whole=1,
    unproven=0,
    too_close=0,
    under_replicated=0,
    members=(member(A, "r1"), member("node-b", "r2")),
    versions=(version(state=CopiesState.WHOLE),),
)


async def rows(
    roots: Roots,
    view: CopiesView = WELL,
    section: CopiesSection = SECTION,
    *,
    zone: str | None = "r1",
    names: Collection[str] = ("llama",),
) -> list[CheckRow]:
    config = Config(node=NodeSection(id=A, state_dir="/s", zone=zone), roots={}, copies=section)
    known = {CheckpointName(name) for name in names}

    async def look() -> CopiesView:
        return view

    found = look_at_asked_copies(config, roots, look, lambda: known)
    return [row async for row in found]


async def complaints(
    roots: Roots,
    view: CopiesView = WELL,
    section: CopiesSection = SECTION,
    *,
    zone: str | None = "r1",
    names: Collection[str] = ("llama",),
) -> list[tuple[str, CheckResult, str]]:
    """Return what is not as it should be; each has something to do about it."""
    found = await rows(roots, view, section, zone=zone, names=names)
    assert all(row.remedy for row in found if row.verdict is not OK)
    return [(row.subject, row.verdict, row.finding) for row in found if row.verdict is not OK]


async def test_nothing_is_said_where_nobody_asked_for_copies(roots: Roots) -> None:
    assert await rows(roots, replace(WELL, names=()), CopiesSection()) == []


async def test_what_is_as_asked_asks_for_nothing(roots: Roots) -> None:
    found = await rows(roots)
    assert [(row.subject, row.verdict, row.finding) for row in found] == [
        ("root copies", OK, "512 KiB of 1 MiB are copies"),
        ("1 version", OK, "has all copies that are asked for, proven"),
    ]


async def test_where_nothing_was_saved_yet_nothing_is_said_to_be_there(roots: Roots) -> None:
    view = replace(WELL, versions=(), whole=0, members=())
    assert await complaints(roots, view) == []
    assert (await rows(roots, view))[-1].finding == "none is known of which copies are asked"


async def test_what_is_short_is_named_with_why_and_worse_if_nothing_is_left(roots: Roots) -> None:
    short = (
        version(1, "node-d is full"),
        version(0, "nobody who answers has all of it", number=6, trouble="the disk is gone"),
        version(2, "", CopiesState.TOO_CLOSE, number=5),
    )
    view = replace(WELL, versions=short, whole=0, under_replicated=2, too_close=1)
    lost = "nobody who answers has all of it; here: the disk is gone"
    assert await complaints(roots, view) == [
        ("llama@7", WARN, "critical units have 1 of 2 copies: node-d is full"),
        ("llama@6", FAIL, f"critical units have 0 of 2 copies: {lost}"),
        ("llama@5", WARN, "is in too few zones"),
    ]


async def test_of_many_versions_the_first_are_named_and_the_others_counted(roots: Roots) -> None:
    short = tuple(version(1, number=number) for number in range(20))
    view = replace(WELL, versions=short, under_replicated=25, left_out=5)
    found = await complaints(roots, view)
    assert (len(found), found[-1][0]) == (11, "15 more versions")


async def test_what_is_not_proven_or_not_clear_is_not_said_to_be_there(roots: Roots) -> None:
    view = replace(WELL, unproven=1, conflicts=("llama@9",))
    assert [subject for subject, *_ in await complaints(roots, view)] == ["llama@9", "1 version"]


@pytest.mark.parametrize("view", [replace(WELL, age_s=None), replace(WELL, is_settled=False)])
async def test_before_everybody_was_heard_nothing_is_known(roots: Roots, view: CopiesView) -> None:
    ((subject, verdict, finding),) = await complaints(roots, view)
    assert (subject, verdict) == ("versions", WARN)
    assert "how many copies there are is not known" in finding


async def test_a_root_that_takes_no_more_is_named_with_the_reason(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = replace(WELL, is_full=True)
    ((subject, _, finding),) = await complaints(roots, full)
    assert (subject, "the quota is used up" in finding) == ("root copies", True)
    monkeypatch.setattr(Root, "size_bytes", lambda _: 100 * MIB)
    monkeypatch.setattr(Root, "free_bytes", lambda _: 9 * MIB)
    ((_, _, finding),) = await complaints(roots, full)
    assert "less than a tenth of the disk is free" in finding
    much = replace(SECTION, quota_bytes=91 * MIB)
    ((_, _, finding),) = await complaints(roots, WELL, much)
    assert finding.endswith("but the disk has room for 90 MiB: a tenth stays free")
    assert await complaints(roots, WELL, replace(SECTION, quota_bytes=90 * MIB)) == []


async def test_a_quota_that_is_too_small_is_named(roots: Roots) -> None:
    ((subject, _, finding),) = await complaints(roots, replace(WELL, used_bytes=2 * MIB))
    assert subject == "root copies"
    assert finding == "takes no more copies: 2 MiB of 1 MiB are copies, and the quota is used up"
    large = replace(version(state=CopiesState.WHOLE, number=8), size_bytes=MIB + 1)
    view = replace(WELL, versions=(*WELL.versions, large))
    ((subject, _, finding),) = await complaints(roots, view)
    assert "llama@8 with 1 MiB is larger than that" in finding
    assert await complaints(roots, view, replace(SECTION, quota_bytes=2 * MIB)) == []


async def test_a_root_that_cannot_be_used_takes_no_copies(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, verdict, finding),) = await complaints(roots, replace(WELL, obstacle="no answer"))
    assert (verdict, finding) == (FAIL, "takes no copies: no answer")
    monkeypatch.setattr(Root, "obstacle", lambda _: "it is gone")
    ((_, verdict, finding),) = await complaints(roots)
    assert (verdict, finding) == (FAIL, "takes no copies: it is gone")


async def test_patterns_that_match_nothing_are_named(roots: Roots) -> None:
    rule = CheckpointCopies(critical=1, normal=1, deferred=1, keep=1)
    section = replace(SECTION, names=("llama*", "lama"), checkpoints={"llama": rule, "gpt": rule})
    found = await complaints(roots, section=section, names=("llama", "gpt"))
    assert [subject for subject, *_ in found] == [
        "[copies] names lama",
        "[copies.checkpoints] gpt",
    ]


async def test_zones_that_are_not_known_matter_where_more_than_one_copy_is_asked(
    roots: Roots,
) -> None:
    view = replace(WELL, zone="", members=(member(A), member("node-b", "r2"), member("node-c")))
    found = await complaints(roots, view, zone=None)
    assert [subject for subject, *_ in found] == [
        "this node",
        "1 of 3 nodes that keep copies",
    ]
    assert found[1][2] == "are in no known zone: node-c"
    single = replace(SECTION, critical=1, normal=1)
    assert await complaints(roots, view, single, zone=None) == []


async def test_nodes_that_are_all_in_one_zone_are_named(roots: Roots) -> None:
    view = replace(WELL, members=(member(A, "r1"), member("node-b", "r1")))
    ((subject, _, finding),) = await complaints(roots, view)
    assert (subject, finding.startswith("all nodes that keep copies are in r1")) == ("zones", True)


async def test_two_zones_of_one_node_are_a_contradiction(roots: Roots) -> None:
    section = replace(SECTION, zones={"r9": ("node-*",)})
    ((_, _, finding),) = await complaints(roots, section=section)
    assert finding == "is in r1 by node.zone and in r9 by [copies.zones]"
    assert await complaints(roots, section=section, zone="r9") == []
    assert await complaints(roots, section=section, zone=None) == []


async def test_more_copies_than_nodes_or_zones_are_noticed(roots: Roots) -> None:
    section = replace(SECTION, critical=3)
    ((_, _, finding),) = await complaints(roots, section=section)
    assert finding == "asks for 3 copies, and 2 nodes keep some: node-a, node-b"
    three = replace(WELL, members=(*WELL.members, member("node-c", "r2")))
    assert await complaints(roots, three, section) == []
    said = [row.finding for row in await rows(roots, three, section)]
    crowded = "3 copies are asked, and those who keep them are in 2 zones: some zone has two"
    assert crowded in said
