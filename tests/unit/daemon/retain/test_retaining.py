"""Retention on nodes with real files: what goes, what stays, and who is asked before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptd.config.sections import CheckpointRetention, RetentionSection
from ckptd.daemon.retain import removing
from ckptd.daemon.retain.deciding import rules_of
from ckptd.daemon.retain.outcomes import Outcome
from ckptd.daemon.retain.reasons import reason_of
from ckptd.errors import StorageError
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.retention import FreeRoom, RetentionRule
from ckptd.model.words import GoesBecause, KeptBecause, RemovableKind
from ckptd.store.files.roots import Root
from ckptd.store.published import catalog
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.records.retention_records import ReadDirectory
from tests.support.retaining import NAME, RetainingNode, RetainingNodes
from tests.support.stores import publish

TWO = RetentionSection(newest=2)
NOBODY = RetentionSection()
RULE = RetentionRule(newest=2)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[RetainingNodes]:
    async with RetainingNodes(tmp_path) as opened:
        yield opened


async def two(nodes: RetainingNodes, section: RetentionSection = TWO) -> RetainingNode:
    """Return a node with versions 1 to 4, which an archive has, too."""
    node, archive = await nodes.add("a", section), await nodes.add("z", NOBODY)
    for version in range(1, 5):
        await node.save(version)
        await archive.save(version, is_published=True)
    nodes.spread()
    return node


def kept(outcomes: list[Outcome]) -> dict[int, KeptBecause]:
    return {each.surveyed.standing.version: each.kept for each in outcomes if each.kept}


def gone(outcomes: list[Outcome]) -> list[int]:
    return [each.surveyed.standing.version for each in outcomes if each.goes]


async def test_what_nothing_keeps_goes_with_its_files(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    outcomes = await node.collect()
    assert gone(outcomes) == [1, 2]
    assert kept(outcomes) == {3: KeptBecause.NEWEST, 4: KeptBecause.NEWEST}
    assert node.versions == node.offered == node.on_disk == [3, 4]
    assert node.retaining.seen.removed == {GoesBecause.OLD.value: 2}
    assert node.retaining.seen.freed_bytes == sum(each.freed_bytes for each in outcomes) > 0
    assert await node.retaining._records.removals() == frozenset()


async def test_a_dry_run_says_the_same_and_does_nothing(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    outcomes = await node.collect(is_dry_run=True)
    assert (gone(outcomes), sorted(kept(outcomes))) == ([1, 2], [3, 4])
    assert node.versions == node.offered == node.on_disk == [1, 2, 3, 4]
    assert node.asked == []


async def test_without_a_rule_nothing_goes(nodes: RetainingNodes) -> None:
    node = await two(nodes, NOBODY)
    assert set(kept(await node.collect()).values()) == {KeptBecause.NEWEST, KeptBecause.ROOM}
    assert not node.retaining.seen.is_on


async def test_only_of_the_checkpoint_that_is_named(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    assert await node.collect(name=CheckpointName("other")) == []
    assert gone(await node.collect(name=NAME)) == [1, 2]


@pytest.mark.parametrize("how", ["silent", "never had it", "lies", "in part", "quarantine"])
async def test_the_last_copy_stays_whatever_peers_said_before(
    nodes: RetainingNodes, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)
    archive = nodes.by_id[list(nodes.by_id)[1]]
    said = archive.said
    match how:
        case "silent":
            archive.is_mute = True
        case "never had it":
            for version in (1, 2):
                (held,) = archive.catalog.find(NAME, Version(version))
                await archive.catalog.withdraw(held.holding.digest)
        case "lies":  # somebody else answers there
            another = replace(said, node=node.id)
            monkeypatch.setattr(archive, "holdings", lambda: another)
        case "in part":
            parts = tuple(replace(each, blocks=BlockSet()) for each in said.holdings)
            monkeypatch.setattr(archive, "holdings", lambda: replace(said, holdings=parts))
        case "quarantine":

            async def distrust(*_: object) -> None:
                (peer,) = node.state.peers.values()
                peer.standing.quarantined_until_ns = 10

            monkeypatch.setattr(nodes, "when_asked", distrust)
        case _:
            raise AssertionError(how)
    outcomes = await node.collect()
    assert gone(outcomes) == []
    assert kept(outcomes)[1] is kept(outcomes)[2] is KeptBecause.COPIES
    assert node.versions == node.offered == node.on_disk == [1, 2, 3, 4]


async def test_so_many_copies_stay_elsewhere_as_are_asked_for(nodes: RetainingNodes) -> None:
    node = await two(nodes, RetentionSection(newest=2, copies=2))
    assert kept(await node.collect())[1] is KeptBecause.COPIES
    third = await nodes.add("b", NOBODY)
    await third.save(1)
    nodes.spread()
    outcomes = await node.collect()
    assert gone(outcomes) == [1]
    assert kept(outcomes)[2] is KeptBecause.COPIES


async def test_two_nodes_that_remove_at_once_do_not_rely_on_each_other(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await nodes.add("a", TWO), await nodes.add("b", TWO)
    for version in range(1, 5):
        await one.save(version)
        await other.save(version)
    nodes.spread()
    both = asyncio.Barrier(2)
    met: set[tuple[str, int]] = set()

    async def meet(asker: RetainingNode, _: RetainingNode) -> None:
        """Let both be off offer when the first answer is given."""
        key = (asker.id, len(asker.asked))
        if key not in met and len(asker.asked) == 1:
            met.add(key)
            await both.wait()

    monkeypatch.setattr(nodes, "when_asked", meet)
    await asyncio.gather(one.collect(), other.collect())
    assert sorted({*one.on_disk, *other.on_disk}) == [1, 2, 3, 4]
    assert sorted({*one.offered, *other.offered}) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("kind", "goes"),
    [(RemovableKind.RECOVERED, []), (RemovableKind.OWN, [1, 2]), (RemovableKind.ALL, [1, 2])],
)
async def test_what_the_job_placed_goes_only_if_that_is_said(
    nodes: RetainingNodes, kind: RemovableKind, goes: list[int]
) -> None:
    node = await nodes.add("a", RetentionSection(newest=2, remove=kind))
    other = await nodes.add("z", NOBODY)
    for version in range(1, 5):
        await node.save(version, is_published=True)
        await other.save(version)
    nodes.spread()
    outcomes = await node.collect()
    assert gone(outcomes) == goes
    if not goes:
        assert kept(outcomes)[1] is KeptBecause.KIND
        assert node.offered == [1, 2, 3, 4]


async def in_the_way(node: RetainingNode, guard: KeptBecause) -> None:
    """Let something be in the way of removing version 1."""
    (held,) = node.catalog.find(NAME, Version(1))
    place = held.places[0]
    match guard:
        case KeptBecause.ACTIVE:
            row = ActiveVersion(
                place.root, NAME, "current", place.directory, Version(1), held.holding.digest, 1.0
            )
            await node.catalog.active.intend(row)
        case KeptBecause.READ:
            await node.retention.leases.take(ReadDirectory(place.root, place.directory))
        case KeptBecause.WITHDRAWN:
            await node.catalog.withdraw(held.holding.digest)
        case KeptBecause.CHANGED:
            node.catalog.mark_changed(place.number, [0], "somebody wrote to it")
        case KeptBecause.RECOVERED_HERE:
            node.recoveries.append(SimpleNamespace(digest=held.holding.digest, recovery="r-1"))
        case KeptBecause.RECOVERED_ELSEWHERE:
            node.retention.leases.note_asked(held.holding.digest)
        case _:
            raise AssertionError(guard)


GUARDS = [
    KeptBecause.ACTIVE,
    KeptBecause.READ,
    KeptBecause.WITHDRAWN,
    KeptBecause.CHANGED,
    KeptBecause.RECOVERED_HERE,
    KeptBecause.RECOVERED_ELSEWHERE,
]


@pytest.mark.parametrize("guard", GUARDS)
async def test_what_is_in_use_stays(nodes: RetainingNodes, guard: KeptBecause) -> None:
    node = await two(nodes)
    await in_the_way(node, guard)
    outcomes = await node.collect()
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is guard
    assert node.on_disk == [1, 3, 4]


@pytest.mark.parametrize(
    "guard", [KeptBecause.ACTIVE, KeptBecause.READ, KeptBecause.RECOVERED_ELSEWHERE]
)
async def test_what_comes_to_be_in_use_while_others_are_asked_stays(
    nodes: RetainingNodes, guard: KeptBecause, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)

    async def come_between(*_: object) -> None:
        if len(node.asked) == 1:
            await in_the_way(node, guard)

    monkeypatch.setattr(nodes, "when_asked", come_between)
    outcomes = await node.collect()
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is guard
    assert node.offered == node.on_disk == [1, 3, 4]


async def test_a_file_that_somebody_changed_keeps_its_version(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    change(node, 1)
    outcomes = await node.collect()
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is KeptBecause.CHANGED
    assert node.on_disk == [1, 3, 4]


async def test_what_a_peer_has_in_part_is_being_recovered_until_it_stands_still(
    tmp_path: Path,
) -> None:
    now_s = [0.0]
    async with RetainingNodes(tmp_path, lambda: now_s[0]) as nodes:
        node = await two(nodes)
        receiver = await nodes.add("r", NOBODY)
        part = [
            replace(each, blocks=BlockSet()) for each in node.said.holdings if each.version == 1
        ]
        node.hear(receiver, part)
        survey = node.retaining.survey
        survey._clock = lambda: now_s[0]
        assert kept(await node.collect())[1] is KeptBecause.RECOVERED_ELSEWHERE
        now_s[0] += 24 * 3600
        assert gone(await node.collect()) == [1]


async def test_for_room_what_is_kept_only_for_its_time_goes_oldest_first(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = RetentionSection(newest=1, every_s=60, min_free=FreeRoom(size_bytes=1000))
    node = await nodes.add("a", section)
    archive = await nodes.add("z", NOBODY)
    for version in range(1, 6):
        node.placed_at_s += 100
        await node.save(version, content=bytes([version]) * 300)
        await archive.save(version, content=bytes([version]) * 300)
    nodes.spread()
    monkeypatch.setattr(Root, "free_bytes", lambda root: 2000 - used_bytes(root))
    monkeypatch.setattr(Root, "size_bytes", lambda _: 2000)
    assert gone(await node.collect(is_dry_run=True)) == [1, 2]
    assert "may free up to 1.17 KiB" in node.retaining.could_free(node.root)
    assert gone(await node.collect()) == [1, 2]
    assert gone(await node.collect()) == []
    outcomes = await node.collect(free_bytes=2000)
    assert gone(outcomes) == [3, 4]
    assert kept(outcomes) == {5: KeptBecause.NEWEST}
    await node.collect(is_dry_run=True)
    assert node.retaining.could_free(node.root) == (
        " Retention may remove nothing here: see 'ckptctl gc --dry-run'."
    )


def change(node: RetainingNode, version: int) -> None:
    Path(node.root.path, NAME, str(version), "w").write_bytes(b"mine")


def used_bytes(root: Root) -> int:
    return sum(file.stat().st_size for file in Path(root.path).rglob("*") if file.is_file())


@pytest.mark.parametrize("files_gone", [False, True])
async def test_a_removal_that_a_crash_interrupts_is_brought_to_its_end(
    nodes: RetainingNodes, files_gone: bool
) -> None:
    node = await two(nodes)
    (held,) = node.catalog.find(NAME, Version(1))
    numbers = [place.number for place in held.places]
    await node.retaining._records.begin_removal(numbers)
    await node.catalog.withdraw_all(numbers)
    if files_gone:
        os.unlink(Path(node.root.path, NAME, "1", "w"))
    await node.open()
    assert node.versions == [1, 2, 3, 4]
    await node.retaining._finish_begun()
    assert node.versions == node.offered == node.on_disk == [2, 3, 4]


async def test_what_the_disk_refuses_to_remove_goes_after_the_next_start(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("file", "cannot be removed")

    with monkeypatch.context() as patched:
        patched.setattr(removing, "remove", refuse)
        outcomes = await node.collect()
    assert gone(outcomes) == []
    assert kept(outcomes)[1] is KeptBecause.WITHDRAWN, "nobody is promised what may be gone"
    assert (node.offered, node.on_disk) == ([3, 4], [1, 2, 3, 4])
    await node.open()
    await node.retaining._finish_begun()
    assert node.versions == node.on_disk == [3, 4]


async def test_what_becomes_active_as_its_files_are_about_to_go_stays_on_offer(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)
    begin = node.retaining._records.begin_removal

    async def begin_and_activate(numbers: list[int]) -> None:
        await begin(numbers)
        if node.catalog.find(NAME, Version(1))[0].places[0].number in numbers:
            await in_the_way(node, KeptBecause.ACTIVE)

    monkeypatch.setattr(node.retaining._records, "begin_removal", begin_and_activate)
    outcomes = await node.collect()
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is KeptBecause.ACTIVE
    assert node.offered == node.on_disk == [1, 3, 4]
    assert await node.retaining._records.removals() == frozenset()


async def test_what_somebody_withdraws_while_others_are_asked_stays_withdrawn(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)

    async def withdraw(*_: object) -> None:
        if len(node.asked) == 1:
            await in_the_way(node, KeptBecause.WITHDRAWN)

    monkeypatch.setattr(nodes, "when_asked", withdraw)
    outcomes = await node.collect()
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is KeptBecause.WITHDRAWN
    assert (node.offered, node.on_disk) == ([3, 4], [1, 3, 4])


async def test_nothing_goes_any_more_once_one_of_the_newest_is_gone(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)

    async def forget(*_: object) -> None:
        if len(node.asked) == 1:
            (held,) = node.catalog.find(NAME, Version(4))
            await node.catalog.forget(held.places[0].number)

    monkeypatch.setattr(nodes, "when_asked", forget)
    assert gone(await node.collect()) == [1]
    assert node.versions == [2, 3]


async def test_a_crash_before_a_version_was_off_offer_leaves_it_there(
    nodes: RetainingNodes,
) -> None:
    node = await two(nodes)
    (held,) = node.catalog.find(NAME, Version(1))
    await node.retaining._records.begin_removal([held.places[0].number])
    await node.open()
    await node.retaining._finish_begun()
    assert node.offered == node.on_disk == [1, 2, 3, 4]
    assert await node.retaining._records.removals() == frozenset()


async def test_who_is_to_wait_lets_others_go_first_and_goes_on_when_none_did(
    tmp_path: Path,
) -> None:
    now_s = [0.0]
    async with RetainingNodes(tmp_path, lambda: now_s[0]) as nodes:
        one, other = await nodes.add("a", TWO), await nodes.add("b", TWO)
        for version in range(1, 5):
            await one.save(version)
            await other.save(version)
        nodes.spread()
        for node in (one, other):
            await node.retaining._round()
            nodes.spread()
        assert sorted([*one.on_disk, *other.on_disk]) == [1, 2, 3, 3, 4, 4]
        now_s[0] += 10_000
        for node in (one, other):
            await node.retaining._round()
        assert sorted([*one.on_disk, *other.on_disk]) == [1, 2, 3, 3, 4, 4], "last copies"


async def test_a_node_alone_with_an_archive_does_not_wait_for_ever(tmp_path: Path) -> None:
    now_s = [0.0]
    async with RetainingNodes(tmp_path, lambda: now_s[0]) as nodes:
        node = await two(nodes)
        await node.retaining._round()
        now_s[0] += 601
        await node.retaining._round()
        assert node.on_disk == [3, 4]


async def test_all_other_work_goes_first_but_not_for_ever(tmp_path: Path) -> None:
    now_s = [0.0]
    async with RetainingNodes(tmp_path, lambda: now_s[0]) as nodes:
        node = await two(nodes)
        node.is_busy = True
        await node.retaining._round()
        now_s[0] += 599
        await node.retaining._round()
        assert node.on_disk == [1, 2, 3, 4]
        now_s[0] += 601
        await node.retaining._round()
        assert node.on_disk == [2, 3, 4], "one"
        node.is_busy = False
        await node.retaining._round()
        assert node.on_disk == [3, 4]


async def test_shards_in_one_directory_stay_and_go_together(nodes: RetainingNodes) -> None:
    node, archive = await nodes.add("a", RetentionSection(newest=1)), await nodes.add("z", NOBODY)
    for version in (1, 2):
        for each in (node, archive):
            for shard, others in ((0, ("b",)), (1, ("a",))):
                if (each, version, shard) == (archive, 1, 1):
                    continue
                files = {"a": b"%d" % version, "b": b"%db" % version, "w": b"%dw" % version}
                await each.save_shard(version, shard, files, exclude=others)
    nodes.spread()
    outcomes = await node.collect()
    assert kept(outcomes) == {1: KeptBecause.COPIES, 2: KeptBecause.NEWEST}
    files = {"a": b"1", "b": b"1b", "w": b"1w"}
    await archive.save_shard(1, 1, files, exclude=("a",))
    nodes.spread()
    assert gone(await node.collect(name=NAME)) == [1]
    assert node.on_disk == [2]
    assert node.versions == [2, 2]


async def test_a_place_whose_files_another_version_has_as_well_stays(
    nodes: RetainingNodes,
) -> None:
    node = await two(nodes)
    hashed = await asyncio.to_thread(publish, node.root, f"{NAME}/1", checkpoint="opt", version=9)
    await node.catalog.add(hashed)
    outcomes = await node.collect(name=NAME)
    assert gone(outcomes) == [2]
    assert kept(outcomes)[1] is KeptBecause.SHARED
    (said,) = [each.why for each in outcomes if each.kept is KeptBecause.SHARED]
    assert "shares files with opt@9" in said


def test_the_first_rule_that_matches_counts() -> None:
    other = CheckpointRetention(newest=7, every_s=None, copies=2, remove=RemovableKind.ALL)
    section = RetentionSection(newest=2, checkpoints={"llama*": other, "*": other})
    rule_of = rules_of(section)
    assert rule_of(NAME) == RetentionRule(7, None, 2, RemovableKind.ALL)
    rule_of = rules_of(RetentionSection(newest=2, checkpoints={"opt*": other}))
    assert rule_of(NAME) == RetentionRule(2, None, 1, RemovableKind.RECOVERED)


async def test_what_cannot_go_is_not_tried_again_at_once_and_others_go_for_room(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes, RetentionSection(min_free=FreeRoom(size_bytes=1)))
    archive = nodes.by_id[list(nodes.by_id)[1]]
    (held,) = archive.catalog.find(NAME, Version(1))
    await archive.catalog.withdraw(held.holding.digest)
    monkeypatch.setattr(Root, "free_bytes", lambda root: 201 - used_bytes(root))
    outcomes = await node.collect(free_bytes=80)
    assert kept(outcomes)[1] is KeptBecause.COPIES
    assert gone(outcomes) == [2]


async def test_a_copy_is_none_of_the_newest_and_does_not_go(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    for version in (1, 5, 6):  # what others saved since, and what the job has as well
        await node.save(version, as_copy=True)
    outcomes = await node.collect()
    assert gone(outcomes) == [1, 2]
    assert kept(outcomes) == {3: KeptBecause.NEWEST, 4: KeptBecause.NEWEST}
    assert node.on_disk == [3, 4]
    assert node.versions == node.offered == [1, 3, 4, 5, 6]


async def test_what_is_a_copy_as_well_goes_where_the_job_placed_it(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    for version in (1, 2, 3, 4):
        await node.save(version, as_copy=True)
    assert gone(await node.collect()) == [1, 2]
    assert node.on_disk == [3, 4]
    assert node.offered == [1, 2, 3, 4]
    assert [len(held.places) for held in node.catalog.versions()] == [1, 1, 2, 2]


async def test_a_copy_whose_removal_a_crash_interrupts_goes_after_the_next_start(
    nodes: RetainingNodes,
) -> None:
    node = await nodes.add("a", NOBODY)
    digest = await node.save(1, as_copy=True)
    (place,) = node.catalog.versions()[0].places
    await node.catalog.withdraw(digest)
    await node.retaining._records.begin_removal([place.number])
    await node.open()
    await node.retaining._finish_begun()
    assert node.versions == []
    assert node.roots["copies"].names(NAME) == []


async def test_who_says_that_it_has_a_version_and_does_not_show_it_does_not_count(
    nodes: RetainingNodes,
) -> None:
    node = await two(nodes)
    node.liars.add(NodeId("z"))
    assert kept(await node.collect())[Version(1)] is KeptBecause.COPIES
    assert node.versions == node.offered == node.on_disk == [1, 2, 3, 4]
    node.liars.clear()
    assert gone(await node.collect()) == [1, 2]


async def test_no_more_nodes_show_that_they_have_a_version_than_are_needed(
    nodes: RetainingNodes,
) -> None:
    node = await nodes.add("a", RetentionSection(newest=1))
    others = [await nodes.add(name, NOBODY) for name in ("x", "y", "z")]
    for version in (1, 2):
        for each in (node, *others):
            await each.save(version)
    nodes.spread()
    await node.collect(is_dry_run=True)
    [first, _] = others[0].catalog.versions()
    assert node.retaining.seen.going == {first.holding.digest}
    assert node.proven == []
    node.liars.add(NodeId("x"))
    assert gone(await node.collect()) == [1]
    assert node.proven == ["x", "y"]
    assert len(node.asked) == 3


async def test_who_never_shows_a_block_keeps_a_version_off_offer_for_a_bounded_time(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.daemon.retain.asking_holders._PROOF_S", 0.0)
    node = await two(nodes)
    node.silent.add(NodeId("z"))
    assert kept(await node.collect())[Version(1)] is KeptBecause.COPIES
    assert node.offered == [1, 2, 3, 4]


async def chain(nodes: RetainingNodes, section: RetentionSection = TWO) -> RetainingNode:
    """Return a node with a full version 1, deltas 2 to 4 on it, and full versions 5 and 6.

    An archive has them, too.
    """
    node, archive = await nodes.add("a", section), await nodes.add("z", NOBODY)
    for each in (node, archive):
        digest = await each.save(1)
        for version in range(2, 5):
            digest = await each.save_delta(version, version - 1, digest)
        for version in (5, 6):
            await each.save(version)
    nodes.spread()
    return node


async def test_a_chain_that_nothing_needs_goes_the_latest_first(nodes: RetainingNodes) -> None:
    node = await chain(nodes)
    assert gone(await node.collect()) == [4, 3, 2, 1]
    assert node.on_disk == [5, 6]


async def test_what_a_version_in_use_is_a_delta_on_stays_and_it_is_said_why(
    nodes: RetainingNodes,
) -> None:
    node = await chain(nodes)
    await node.retention.leases.take(ReadDirectory("data", f"{NAME}/3"))
    outcomes = await node.collect()
    assert gone(outcomes) == [4]
    assert node.on_disk == [1, 2, 3, 5, 6]
    said = {each.surveyed.standing.version: reason_of(each, RULE) for each in outcomes}
    assert (said[Version(1)], said[Version(2)]) == ("2, 3 are deltas on it", "3 is a delta on it")


async def test_a_delta_that_comes_while_others_are_asked_keeps_its_base(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes, RetentionSection(newest=1))
    (base,) = node.catalog.find(NAME, Version(3))

    async def come_between(*_: object) -> None:
        if node.asked == [NodeId("z")] * 3:
            await node.save_delta(5, 3, base.holding.digest)

    monkeypatch.setattr(nodes, "when_asked", come_between)
    outcomes = await node.collect()
    assert node.asked[:3] == [NodeId("z")] * 3
    assert 3 not in gone(outcomes)
    assert kept(outcomes)[3] is KeptBecause.BASE
    assert 3 in node.offered


async def test_a_delta_that_cannot_go_keeps_its_base(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await chain(nodes)

    async def come_between(*_: object) -> None:
        await node.retention.leases.take(ReadDirectory("data", f"{NAME}/4"))

    monkeypatch.setattr(nodes, "when_asked", come_between)
    outcomes = await node.collect()
    assert gone(outcomes) == []
    assert kept(outcomes)[4] is KeptBecause.READ
    assert {kept(outcomes)[version] for version in (1, 2, 3)} == {KeptBecause.BASE}
    assert node.on_disk == [1, 2, 3, 4, 5, 6]


async def test_what_may_be_the_base_of_an_unseen_version_stays(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await two(nodes)
    digest = await node.save_delta(5, 1, None)
    monkeypatch.setattr(catalog, "SEEN_AT_ONCE_BYTES", 0)
    await node.open()
    for held in node.catalog.versions():
        if held.holding.digest != digest:
            await node.catalog.see(held.holding.digest)
    nodes.spread()
    outcomes = await node.collect()
    assert gone(outcomes) == []
    assert kept(outcomes)[1] is KeptBecause.UNSEEN
    await node.catalog.see(digest)
    assert gone(await node.collect()) == [2, 3]
    assert node.on_disk == [1, 4, 5]


async def test_a_delta_on_other_content_keeps_nothing(nodes: RetainingNodes) -> None:
    node = await two(nodes)
    await node.save_delta(5, 2, Digest("ab" * 32))
    assert gone(await node.collect()) == [1, 2, 3]


async def test_a_delta_of_which_only_a_copy_is_here_keeps_only_copies(
    nodes: RetainingNodes,
) -> None:
    node = await two(nodes)
    (base,) = node.catalog.find(NAME, Version(1))
    delta = await node.save_delta(7, 1, base.holding.digest, as_copy=True)
    await node.save_delta(8, 7, delta)
    assert gone(await node.collect(is_dry_run=True)) == [2, 3]
    outcomes = await node.collect()
    assert gone(outcomes) == [2, 3]
    assert kept(outcomes)[1] is KeptBecause.BASE
    (place,) = node.catalog.find(NAME, Version(8))[0].places
    await node.catalog.forget_all([place.number])
    survey = node.retaining.survey
    (surveyed,) = [each for each in await survey.look() if each.standing.version == 1]
    assert survey.deltas_on(surveyed) == ()
    await node.save(1, as_copy=True)
    copy = survey.copy_of(base.holding.digest)
    assert copy is not None
    assert survey.deltas_on(copy) == (7,)
