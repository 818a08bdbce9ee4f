from dataclasses import replace

import pytest

from ckptd.model.ids import CheckpointName, Version
from ckptd.model.watch_decisions import (
    LastChange,
    Refusal,
    SeenName,
    Standing,
    WatchLook,
    behind_s,
    decide,
    newest_names,
    next_look_s,
    rotated_away,
    to_look_into,
)
from ckptd.model.watched_names import WatchRule, name_pattern
from ckptd.model.words import NotTaken, PlaceState, SavedState

RULE = WatchRule(
    directory="/data",
    pattern=name_pattern("v{version}"),
    checkpoint=CheckpointName("llama"),
    quiet_s=5.0,
    require=(),
    pointer="",
    newest=2,
    rate_bytes_per_s=1,
)
QUIET = LastChange(changed_at_s=100.0, seen_s=5.0)


def standing(state: PlaceState = PlaceState.HERE, version: int = 1) -> Standing:
    return Standing(version, RULE.checkpoint, Version(version), state, added_at_s=90.0)


def look_at(
    *names: str,
    changes: dict[str, LastChange] | None = None,
    known: dict[str, Standing] | None = None,
    refusals: dict[str, Refusal] | None = None,
    pointer: str | None = None,
) -> WatchLook:
    return WatchLook(
        frozenset(names),
        tuple(SeenName(name, is_directory=True) for name in names),
        dict.fromkeys(names, QUIET) if changes is None else changes,
        known or {},
        refusals or {},
        pointer,
    )


def states(look: WatchLook, rule: WatchRule = RULE) -> dict[str, SavedState]:
    return {each.name: each.state for each in decide(rule, look)}


def test_what_is_quiet_is_due_newest_first_and_old_ones_are_not_taken() -> None:
    verdicts = decide(RULE, look_at("v1", "v3", "v20", "latest"))
    assert [(each.name, each.state) for each in verdicts] == [
        ("v20", SavedState.DUE),
        ("v3", SavedState.DUE),
        ("v1", SavedState.NOT_TAKEN),
    ]
    assert not any(each.replaces for each in verdicts)


def test_what_changed_waits_until_it_was_seen_unchanged_for_so_long() -> None:
    changing = LastChange(changed_at_s=0.0, seen_s=1.5)
    (verdict,) = decide(RULE, look_at("v1", changes={"v1": changing}))
    assert (verdict.state, verdict.wait_s) == (SavedState.WAITS, 3.5)


def test_what_cannot_be_looked_into_waits() -> None:
    assert states(look_at("v1", changes={})) == {"v1": SavedState.WAITS}


def test_links_and_second_names_are_not_taken() -> None:
    link = look_at("v1")._replace(names=(SeenName("v1", is_directory=False),))
    assert states(link) == {"v1": SavedState.NOT_TAKEN}
    assert states(look_at("v1", "v01")) == {"v01": SavedState.DUE, "v1": SavedState.NOT_TAKEN}


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (PlaceState.HERE, SavedState.TAKEN),
        (PlaceState.CHOSEN, SavedState.TAKEN),
        (PlaceState.PARTIAL, SavedState.TAKEN),
        (PlaceState.WITHDRAWN, SavedState.NOT_TAKEN),
        (PlaceState.SUSPECT, SavedState.WAITS),
        (PlaceState.UNSEEN, SavedState.WAITS),
        (PlaceState.STALE, SavedState.DUE),
    ],
)
def test_what_stands_there_decides(state: PlaceState, becomes: SavedState) -> None:
    (verdict,) = decide(RULE, look_at("v1", known={"v1": standing(state)}))
    assert (verdict.state, verdict.replaces) == (becomes, becomes is SavedState.DUE)


def test_rot_is_not_published_as_if_it_were_saved_again() -> None:
    untouched = LastChange(changed_at_s=90.0, seen_s=100.0)
    look = look_at("v1", changes={"v1": untouched}, known={"v1": standing(PlaceState.STALE)})
    assert states(look) == {"v1": SavedState.NOT_TAKEN}


def test_what_is_recorded_under_another_name_is_left_alone() -> None:
    other = replace(standing(), checkpoint=CheckpointName("gemma"))
    assert states(look_at("v1", known={"v1": other})) == {"v1": SavedState.NOT_TAKEN}
    assert states(look_at("v1", known={"v1": standing(version=2)})) == {"v1": SavedState.NOT_TAKEN}


@pytest.mark.parametrize(
    ("changed_at_s", "left_s", "is_passing", "state"),
    [
        (100.0, 3.0, True, SavedState.WAITS),
        (100.0, 3.0, False, SavedState.NOT_TAKEN),
        (100.0, 0.0, False, SavedState.DUE),
        (99.0, 3.0, False, SavedState.DUE),
    ],
)
def test_what_was_refused_is_tried_again_later_or_when_it_changed(
    changed_at_s: float, left_s: float, *, is_passing: bool, state: SavedState
) -> None:
    refusal = Refusal("no", changed_at_s, left_s, is_passing)
    assert states(look_at("v1", refusals={"v1": refusal})) == {"v1": state}


@pytest.mark.parametrize(
    ("pointer", "state"),
    [
        (None, SavedState.WAITS),
        ("nothing", SavedState.WAITS),
        ("v6", SavedState.WAITS),
        ("v7", SavedState.DUE),
        ("8", SavedState.DUE),
    ],
)
def test_nothing_newer_than_the_pointer_says_is_complete(
    pointer: str | None, state: SavedState
) -> None:
    rule = replace(RULE, pointer="latest")
    assert states(look_at("v7", pointer=pointer), rule) == {"v7": state}


def test_only_what_matters_is_looked_into() -> None:
    names = [SeenName(f"v{number}", is_directory=True) for number in range(5)]
    known = {"v4": standing(version=4), "v0": standing(PlaceState.STALE, version=0)}
    assert to_look_into(RULE, names, known) == ["v3", "v0"]
    assert newest_names(RULE, ["v1", "v30", "x", "v4"], 2) == ["v30", "v4"]


def test_what_was_taken_and_is_gone_was_rotated_away() -> None:
    other = replace(standing(version=3), checkpoint=CheckpointName("gemma"))
    known = {"v1": standing(), "v2": standing(version=2), "v3": other, "x": standing()}
    assert rotated_away(RULE, look_at("v2", known=known)) == [known["v1"]]


@pytest.mark.parametrize(
    ("seen_s", "is_reported", "next_s"),
    [
        (0.0, True, 0.5),
        (4.8, True, 0.2),  # when it is quiet
        (60.0, True, 6.0),
        (3600.0, True, 15.0),
        (3600.0, False, 1.0),
        (0.0, False, 0.5),
    ],
)
def test_a_save_that_waits_is_looked_into_less_often_the_longer_it_is_calm(
    seen_s: float, is_reported: bool, next_s: float
) -> None:
    changes = {"v1": LastChange(100.0, seen_s)}
    lacks = Refusal("lacks", 100.0, left_s=30.0, is_passing=True)
    verdicts = decide(RULE, look_at("v1", changes=changes, refusals={"v1": lacks}))
    assert verdicts[0].state is SavedState.WAITS
    assert next_look_s(verdicts, changes, is_reported=is_reported) == pytest.approx(next_s)


def test_where_nothing_waits_a_directory_is_scanned_now_and_then() -> None:
    verdicts = decide(RULE, look_at("v1", known={"v1": standing()}))
    assert next_look_s(verdicts, {}, is_reported=True) == 15.0
    assert next_look_s(verdicts, {}, is_reported=False) == 1.0
    assert next_look_s([], {}, is_reported=True) == 15.0


def test_the_reason_is_a_word_of_its_own() -> None:
    no = Refusal("no", 100.0, left_s=30.0, is_passing=False)
    names = ("v9", "v09", "v8", "v7", "v6", "v5", "v4")
    known = {
        "v7": replace(standing(version=7), checkpoint=CheckpointName("other")),
        "v6": standing(PlaceState.WITHDRAWN, version=6),
        "v5": replace(standing(PlaceState.STALE, version=5), added_at_s=200.0),
    }
    look = look_at(*names, known=known, refusals={"v09": no})
    seen = (*look.names, SeenName("v3", is_directory=False))
    verdicts = decide(RULE, look._replace(names=seen))
    assert {each.name: each.reason for each in verdicts} == {
        "v09": NotTaken.REFUSED,
        "v9": NotTaken.TWICE,
        "v8": None,
        "v7": NotTaken.OTHERWISE,
        "v6": NotTaken.WITHDRAWN,
        "v5": NotTaken.ROTTEN,
        "v4": NotTaken.OLD,
        "v3": NotTaken.NO_DIRECTORY,
    }


@pytest.mark.parametrize(
    ("known", "behind"),
    [
        ({}, 5.0),
        ({"v1": standing()}, 5.0),
        ({"v2": standing(version=2)}, 0.0),
        ({"v2": standing(PlaceState.WITHDRAWN, version=2)}, 0.0),
    ],
)
def test_a_job_is_behind_while_its_newest_save_is_not_on_offer(
    known: dict[str, Standing], behind: float
) -> None:
    look = look_at("v1", "v2", known=known)
    changes = {name: change for name, change in look.changes.items() if name not in known}
    assert behind_s(decide(RULE, look._replace(changes=changes)), changes) == behind
