"""What stays and what goes, by examples and by what must hold of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.retention import (
    Decided,
    FreeRoom,
    RetentionRule,
    StandingVersion,
    decide,
    freeable_bytes,
    is_to_wait,
    parse_free_room,
)
from ckptd.model.words import GoesBecause, KeptBecause, RemovableKind

LLAMA, OPT = CheckpointName("llama"), CheckpointName("opt")
HOUR_S = 3600.0
RECOVERED, OWN = RemovableKind.RECOVERED, RemovableKind.OWN
GUARDS = [
    KeptBecause.ACTIVE,
    KeptBecause.WITHDRAWN,
    KeptBecause.UNSEEN,
    KeptBecause.CHANGED,
    KeptBecause.SHARED,
    KeptBecause.BASE,
    KeptBecause.READ,
    KeptBecause.RECOVERED_HERE,
    KeptBecause.RECOVERED_ELSEWHERE,
]


def standing(version: int, hour: float | None = None, **fields: object) -> StandingVersion:
    placed_at_s = (version if hour is None else hour) * HOUR_S
    each = StandingVersion(LLAMA, Version(version), placed_at_s, {"disk": 10}, copies_elsewhere=1)
    return replace(each, **fields)  # type: ignore[arg-type]


def going(decided: Decided) -> dict[int, GoesBecause | None]:
    return {each.standing.version: each.goes for each in decided.going}


def kept(decided: Decided) -> dict[int, KeptBecause]:
    return {each.standing.version: each.kept for each in decided.decisions if each.kept}


def by(rule: RetentionRule, *versions: StandingVersion, short: int = 0) -> Decided:
    return decide(versions, lambda _: rule, {"disk": short})


def test_of_each_checkpoint_the_newest_stay_and_the_others_go_oldest_first() -> None:
    versions = [standing(number) for number in range(1, 6)]
    decided = by(RetentionRule(newest=2), *versions, replace(versions[0], name=OPT))
    assert [each.standing.version for each in decided.going] == [1, 2, 3]
    assert decided.freed_bytes() == {"disk": 30}
    assert decided.kept_by_reason() == {KeptBecause.NEWEST: 3}


@pytest.mark.parametrize("newest", [None, 0, 1])
def test_the_newest_version_stays_whatever_is_asked_for(newest: int | None) -> None:
    decided = by(RetentionRule(newest=newest, every_s=10**9), standing(1), short=1000)
    assert kept(decided) == {1: KeptBecause.NEWEST}


def test_what_is_not_as_it_was_wanted_stays_beside_the_newest_and_does_not_count() -> None:
    partial = standing(4, is_as_wanted=False)
    decided = by(RetentionRule(newest=2), standing(1), standing(2), standing(3), partial)
    assert going(decided) == {1: GoesBecause.OLD}
    decided = by(RetentionRule(newest=1), standing(2), standing(1, is_as_wanted=False))
    assert going(decided) == {1: GoesBecause.OLD}


def test_of_older_ones_one_stays_for_each_span_of_time() -> None:
    versions = [standing(number) for number in range(31)]
    rule = RetentionRule(newest=3, every_s=int(10 * HOUR_S))
    decided = by(rule, *versions)
    every = {version for version, why in kept(decided).items() if why is KeptBecause.EVERY}
    assert every == {0, 1, 11, 21}, "and 0, of which it is not known when it was placed"


def test_what_was_kept_for_its_time_stays_when_others_come_and_go() -> None:
    rule = RetentionRule(newest=1, every_s=int(10 * HOUR_S))
    here: dict[int, StandingVersion] = {}
    for number in range(1, 60):
        here[number] = standing(number)
        for version in going(by(rule, *here.values())):
            del here[version]
    assert sorted(here) == [1, 11, 21, 31, 41, 51, 59]


def test_without_a_number_and_a_time_all_stay_while_there_is_room() -> None:
    versions = [standing(number) for number in range(1, 6)]
    assert not by(RetentionRule(), *versions).going
    decided = by(RetentionRule(), *versions, short=25)
    assert going(decided) == dict.fromkeys([1, 2, 3], GoesBecause.ROOM)
    assert decided.short_bytes == {}
    decided = by(RetentionRule(), *versions, short=1000)
    assert sorted(kept(decided)) == [5]
    assert decided.short_bytes == {"disk": 960}


def test_for_room_only_what_stands_on_that_disk_goes() -> None:
    elsewhere = standing(1, bytes_on={"other": 10})
    decided = by(RetentionRule(), elsewhere, standing(2), standing(3), short=5)
    assert going(decided) == {2: GoesBecause.ROOM}


def test_what_is_old_makes_room_first() -> None:
    versions = [standing(number) for number in range(1, 30)]
    rule = RetentionRule(newest=1, every_s=int(10 * HOUR_S))
    assert set(going(by(rule, *versions, short=200)).values()) == {GoesBecause.OLD}


@pytest.mark.parametrize("guard", GUARDS)
def test_what_is_in_the_way_keeps_it_also_for_room(guard: KeptBecause) -> None:
    guarded = standing(1, in_the_way=frozenset({guard}))
    decided = by(RetentionRule(newest=1), guarded, standing(2), standing(3), short=1000)
    assert kept(decided)[1] is guard
    assert going(decided) == {2: GoesBecause.OLD}


@pytest.mark.parametrize(
    ("kind", "stay"), [(RECOVERED, {2, 3}), (OWN, {1, 3}), (RemovableKind.ALL, set())]
)
def test_only_kinds_that_are_named_go(kind: RemovableKind, stay: set[int]) -> None:
    versions = [
        standing(1),
        standing(2, kinds=frozenset({OWN})),
        standing(3, kinds=frozenset({OWN, RECOVERED})),
        standing(4),
    ]
    decided = by(RetentionRule(newest=1, kind=kind), *versions)
    assert {version for version, why in kept(decided).items() if why is KeptBecause.KIND} == stay


@pytest.mark.parametrize(
    ("copies", "elsewhere", "goes"), [(1, 0, 0), (0, 0, 0), (2, 1, 0), (2, 2, 1)]
)
def test_so_many_copies_are_elsewhere_and_never_none(
    copies: int, elsewhere: int, goes: int
) -> None:
    versions = [standing(1, copies_elsewhere=elsewhere), standing(2)]
    assert len(by(RetentionRule(newest=1, copies=copies), *versions).going) == goes


def test_at_most_so_much_can_be_freed() -> None:
    versions = [standing(number) for number in range(1, 11)]
    rule = RetentionRule(newest=2, every_s=int(5 * HOUR_S), copies=1)
    versions[0] = replace(versions[0], copies_elsewhere=0)
    assert freeable_bytes(versions, lambda _: rule) == {"disk": 70}


@st.composite
def versions_of(draw: st.DrawFn) -> list[StandingVersion]:
    numbers = draw(st.lists(st.integers(0, 40), unique=True, max_size=20))
    return [
        StandingVersion(
            draw(st.sampled_from([LLAMA, OPT])),
            Version(number),
            draw(st.integers(0, 40)) * HOUR_S,
            {
                disk: draw(st.integers(0, 20))
                for disk in draw(st.sampled_from([("a",), ("b",), ("a", "b"), ()]))
            },
            draw(st.booleans()),
            draw(
                st.sampled_from(
                    [frozenset({OWN}), frozenset({RECOVERED}), frozenset({OWN, RECOVERED})]
                )
            ),
            draw(st.integers(0, 3)),
            draw(st.frozensets(st.sampled_from(GUARDS), max_size=2)),
        )
        for number in numbers
    ]


rules = st.builds(
    RetentionRule,
    newest=st.none() | st.integers(1, 5),
    every_s=st.none() | st.integers(1, 20).map(lambda hours: int(hours * HOUR_S)),
    copies=st.integers(1, 3),
    kind=st.sampled_from(RemovableKind),
)
shortages = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 200))


@given(versions_of(), rules, rules, shortages)
def test_whatever_stands_here_nothing_goes_that_must_stay(
    versions: list[StandingVersion],
    rule: RetentionRule,
    other: RetentionRule,
    short: Mapping[str, int],
) -> None:
    rule_by_name = {LLAMA: rule, OPT: other}
    decided = decide(versions, rule_by_name.__getitem__, short)
    found = [each.standing for each in decided.decisions]
    assert found == sorted(versions, key=lambda each: (each.name, -each.version))
    for each in decided.decisions:
        assert (each.kept is None) != (each.goes is None)
    for name, counted in rule_by_name.items():
        series = [each for each in versions if each.name == name]
        for gone in (each.standing for each in decided.going if each.standing.name == name):
            assert not gone.in_the_way
            assert gone.copies_elsewhere >= counted.copies
            assert counted.kind is RemovableKind.ALL or gone.kinds == {counted.kind}
            newer = [more for more in series if more.version > gone.version and more.is_as_wanted]
            assert len(newer) >= (counted.newest or 1)
    for disk, left in decided.short_bytes.items():
        assert left == short[disk] - decided.freed_bytes().get(disk, 0)
        assert not [
            each
            for each in decided.decisions
            if each.kept in {KeptBecause.EVERY, KeptBecause.ROOM}
            and each.standing.bytes_on.get(disk)
        ], "while room is short nothing stays for want of a reason"


@given(versions_of(), rules, shortages)
def test_what_goes_for_room_is_no_more_than_it_takes(
    versions: list[StandingVersion], rule: RetentionRule, short: Mapping[str, int]
) -> None:
    decided = decide(versions, lambda _: rule, short)
    before: Counter[str] = Counter()
    for each in decided.going:
        if each.goes is GoesBecause.ROOM:
            here = each.standing.bytes_on
            assert any(here[disk] and before[disk] < short.get(disk, 0) for disk in here)
        before.update(each.standing.bytes_on)


@given(versions_of(), rules, shortages)
def test_what_is_decided_once_is_decided_again_for_what_is_left(
    versions: list[StandingVersion], rule: RetentionRule, short: Mapping[str, int]
) -> None:
    decided = decide(versions, lambda _: rule, short)
    left = [each.standing for each in decided.decisions if each.kept]
    again = decide(left, lambda _: rule, decided.short_bytes)
    assert not again.going


@given(st.integers(1, 3), st.integers(0, 7), st.integers(0, 1000))
def test_as_many_wait_as_there_are_to_be_copies(copies: int, more: int, digest: int) -> None:
    nodes = [NodeId(f"node-{number}") for number in range(copies + more)]
    waiting = [
        node
        for node in nodes
        if is_to_wait(Digest(f"{digest:064x}"), node, set(nodes) - {node}, copies)
    ]
    assert len(waiting) == copies


@pytest.mark.parametrize(
    ("text", "room", "bytes_of_1000"),
    [
        ("10%", FreeRoom(10), 100),
        ("0.5%", FreeRoom(0.5), 5),
        ("2KiB", FreeRoom(size_bytes=2048), 2048),
    ],
)
def test_room_is_a_share_of_a_disk_or_a_size(text: str, room: FreeRoom, bytes_of_1000: int) -> None:
    assert parse_free_room(text) == room
    assert parse_free_room(str(room).replace(" ", "")) == room
    assert room.of(1000) == bytes_of_1000


@pytest.mark.parametrize("text", ["", "%", "0%", "100%", "-5%", "ten", "0B", "1e1%"])
def test_what_is_no_room_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_free_room(text)


def test_who_waits_is_another_one_for_each_version() -> None:
    nodes = [NodeId("node-a"), NodeId("node-b")]
    waits = Counter(
        node
        for digest in range(200)
        for node in nodes
        if is_to_wait(Digest(f"{digest:064x}"), node, set(nodes) - {node}, 1)
    )
    assert min(waits.values()) > 50


def delta(version: int, *bases: int, **fields: object) -> StandingVersion:
    return replace(standing(version), bases=frozenset(map(Version, bases)), **fields)  # type: ignore[arg-type]


def chain(first: int, last: int) -> list[StandingVersion]:
    """Return a full version and deltas on it, each on the one before."""
    return [standing(first), *(delta(number, number - 1) for number in range(first + 1, last + 1))]


def test_what_a_version_that_stays_is_a_delta_on_stays_down_to_a_full_one() -> None:
    decided = by(RetentionRule(newest=2), standing(1), *chain(2, 6))
    assert going(decided) == {1: GoesBecause.OLD}
    base = KeptBecause.BASE
    assert kept(decided) == {
        6: KeptBecause.NEWEST,
        5: KeptBecause.NEWEST,
        4: base,
        3: base,
        2: base,
    }


def test_a_chain_on_which_nothing_stands_any_more_goes_the_latest_first() -> None:
    decided = by(RetentionRule(newest=1), *chain(1, 3), *chain(4, 5))
    assert [each.standing.version for each in decided.going] == [3, 2, 1]
    assert kept(decided) == {5: KeptBecause.NEWEST, 4: KeptBecause.BASE}


@pytest.mark.parametrize("guard", [KeptBecause.READ, KeptBecause.ACTIVE, KeptBecause.WITHDRAWN])
def test_what_stands_on_a_version_keeps_it_whatever_keeps_that(guard: KeptBecause) -> None:
    read = delta(3, 2, in_the_way=frozenset({guard}))
    decided = by(RetentionRule(newest=1), *chain(1, 2), read, delta(4, 3), standing(5))
    assert going(decided) == {4: GoesBecause.OLD}
    assert kept(decided) == {
        5: KeptBecause.NEWEST,
        3: guard,
        2: KeptBecause.BASE,
        1: KeptBecause.BASE,
    }


def test_a_base_of_another_checkpoint_is_none() -> None:
    decided = by(RetentionRule(newest=1), replace(standing(1), name=OPT), standing(1), delta(2, 1))
    assert going(decided) == {}
    decided = by(RetentionRule(newest=1), replace(standing(3), name=OPT), standing(1), standing(2))
    assert going(decided) == {1: GoesBecause.OLD}


def test_a_base_that_is_not_here_is_in_nobodys_way() -> None:
    decided = by(RetentionRule(newest=1), standing(1), delta(3, 2))
    assert going(decided) == {1: GoesBecause.OLD}


def test_for_room_the_end_of_a_chain_goes_first_and_no_base_that_is_needed() -> None:
    versions = [*chain(1, 4), standing(5)]
    for short, gone in ((1, [4]), (20, [4, 3]), (35, [4, 3, 2, 1]), (1000, [4, 3, 2, 1])):
        decided = by(RetentionRule(), *versions, short=short)
        assert [each.standing.version for each in decided.going] == gone
    decided = by(RetentionRule(), *chain(1, 4), short=1000)
    assert going(decided) == {}
    assert kept(decided)[1] is KeptBecause.BASE
    assert decided.short_bytes == {"disk": 1000}
    assert kept(by(RetentionRule(), *chain(1, 4)))[1] is KeptBecause.ROOM


def test_a_base_on_a_disk_that_is_short_stays_while_its_delta_stays_on_another_one() -> None:
    base = replace(standing(1), bytes_on={"full": 10})
    versions = [base, delta(2, 1), standing(3)]
    decided = decide(versions, lambda _: RetentionRule(), {"full": 5})
    assert going(decided) == {}
    assert kept(decided) == {
        3: KeptBecause.NEWEST,
        2: KeptBecause.ROOM,
        1: KeptBecause.BASE,
    }


@given(
    st.dictionaries(
        st.integers(1, 12),
        st.tuples(st.integers(0, 11), st.integers(0, 8), st.booleans()),
        min_size=1,
    ),
    st.sampled_from(
        [RetentionRule(), RetentionRule(newest=2), RetentionRule(newest=1, every_s=9999)]
    ),
    st.integers(0, 150),
)
def test_whatever_goes_nothing_that_stays_lacks_its_base(
    drawn: dict[int, tuple[int, int, bool]], rule: RetentionRule, short: int
) -> None:
    versions = [
        standing(
            number,
            hour,
            bases=frozenset({Version(base)} if base in drawn and base < number else ()),
            in_the_way=frozenset({KeptBecause.READ} if is_read else ()),
        )
        for number, (base, hour, is_read) in drawn.items()
    ]
    decided = by(rule, *versions, short=short)
    gone: set[int] = set()
    for each in decided.going:
        gone.add(each.standing.version)
        left = [version for version in versions if version.version not in gone]
        assert not any(version.bases & gone for version in left)
    assert gone.isdisjoint(kept(decided))
