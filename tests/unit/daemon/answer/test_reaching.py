from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.daemon.answer.reaching import (
    EndSeen,
    NewestSeen,
    PlaceSeen,
    RecoverySeen,
    Sight,
    VersionSeen,
    judge,
    look_at,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.goals import GoalUnits, parse_goal
from ckptd.model.ids import Version
from ckptd.model.words import Criticality, Result, Stage
from ckptd.store.published.places import Place
from tests.unit.model.test_goals import phased

OLD, NEW = Version(1100), Version(1200)
COMPLETE, CORE = parse_goal("complete"), parse_goal("phase=core")
HERE = PlaceSeen("/data/llama/1200", "ab")
LACKING = PlaceSeen(
    "/data/llama/1200", "ab", "of which required units are not here", is_lacking=True
)
SUSPECT = PlaceSeen("/data/llama/1200", "ab", "it looks different")
NOTHING = Sight("llama", COMPLETE)
NAMED = Sight("llama", COMPLETE, NEW)
BRINGING = RecoverySeen("r-1", NEW, Stage.TRANSFERRING)
FAILED = EndSeen("r-1", NEW, Result.FAILED, "nobody has it")

MANIFEST = phased(
    ("a", 0, Criticality.CRITICAL), ("b", 0, Criticality.NORMAL), ("c", 1, Criticality.NORMAL)
)
PLACE = Place(
    number=1,
    root="data",
    directory="v1",
    is_published=False,
    is_withdrawn=False,
    added_at_s=1.0,
    checked_at_s=2.0,
    scrubbed_units=0,
    unit_count=3,
    blocks=BlockSet.full(3),
)
A, B, C = range(3)


class TestVersionThatIsMeant:
    def test_what_is_named_goes_before_all_else(self) -> None:
        seen = replace(
            NAMED, recoveries=[replace(BRINGING, version=OLD)], standing=frozenset({OLD})
        )
        assert seen.version() == NEW

    def test_without_a_name_what_is_recovered_goes_before_what_stands_here(self) -> None:
        standing = frozenset({OLD})
        assert replace(NOTHING, standing=standing).version() == OLD
        assert replace(NOTHING, standing=standing, recoveries=[BRINGING]).version() == NEW

    def test_while_a_recovery_has_not_chosen_it_is_open(self) -> None:
        choosing = replace(BRINGING, version=None, stage=Stage.SEEKING)
        assert replace(NOTHING, standing=frozenset({OLD}), recoveries=[choosing]).version() is None

    def test_nor_is_it_known_while_another_one_has_not_chosen(self) -> None:
        choosing = RecoverySeen("r-2", None, Stage.SEEKING)
        assert replace(NOTHING, recoveries=[choosing, BRINGING]).version() is None

    def test_a_repair_of_an_old_version_does_not_make_it_the_one_that_is_meant(self) -> None:
        repair = RecoverySeen("r-2", OLD, Stage.TRANSFERRING, is_repair=True)
        assert (
            replace(NOTHING, standing=frozenset({OLD, NEW}), recoveries=[repair]).version() == NEW
        )

    def test_whoever_saw_a_recovery_fail_is_not_given_the_version_before(self) -> None:
        assert replace(NOTHING, standing=frozenset({OLD}), ended=FAILED).version() == NEW
        unknown = replace(FAILED, version=None)
        assert replace(NOTHING, standing=frozenset({OLD}), ended=unknown).version() is None

    def test_what_was_withdrawn_is_meant_only_if_there_is_nothing_else(self) -> None:
        assert (
            replace(NOTHING, standing=frozenset({OLD}), withdrawn=frozenset({NEW})).version() == OLD
        )
        assert replace(NOTHING, withdrawn=frozenset({NEW})).version() == NEW

    def test_the_newest_is_open_until_every_peer_was_asked(self) -> None:
        newest = NewestSeen(NEW, is_settled=False)
        assert replace(NOTHING, newest=newest).version() is None
        assert replace(NOTHING, newest=replace(newest, is_settled=True)).version() == NEW


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "obstacle"),
        [
            (PLACE, ""),
            (replace(PLACE, absent=frozenset({C})), ""),  # optional
            (replace(PLACE, is_withdrawn=True), "it is withdrawn"),
            (replace(PLACE, is_withdrawn=True, reason="closed"), "it is withdrawn: closed"),
            (replace(PLACE, is_unseen=True), "it was not looked at yet since ckptd started"),
            (PLACE.with_changed([C], "was written"), "it is stale: was written"),
            (PLACE.with_wrong_names({"l": "is gone"}), "it is stale: is gone"),
            (replace(PLACE, reason="no manifest"), "it is stale: no manifest"),
            (
                PLACE.with_suspect([C], "touched"),
                "it looks different from what was hashed, and is hashed again",
            ),
        ],
    )
    def test_complete_is_said_of_what_is_here_and_nothing_else(
        self, place: Place, obstacle: str
    ) -> None:
        assert look_at(place, "/data/v1", "ab", None) == PlaceSeen("/data/v1", "ab", obstacle)

    def test_what_lacks_required_units_says_so(self) -> None:
        lacking = replace(PLACE, absent=frozenset({C}), lacking=frozenset({C}))
        seen = look_at(lacking, "", "", None)
        assert (seen.obstacle, seen.is_lacking) == ("of which required units are not here", True)

    def test_of_a_phase_only_its_own_units_count_and_those_before(self) -> None:
        core, rest = (GoalUnits(parse_goal(f"phase={name}"), MANIFEST) for name in ("core", "rest"))
        for place in (
            replace(PLACE, absent=frozenset({C}), lacking=frozenset({C})),
            PLACE.with_suspect([C], "touched"),
            PLACE.with_changed([C], "written"),
        ):
            assert not look_at(place, "", "", core).obstacle
            assert look_at(place, "", "", rest).obstacle
        names = PLACE.with_suspect([C], "touched").with_wrong_names({"l": "is gone"})
        assert look_at(names, "", "", core).obstacle == "it is stale: touched"

    def test_critical_units_count_and_without_any_all_do(self) -> None:
        critical = GoalUnits(parse_goal("critical"), MANIFEST)
        assert not look_at(PLACE.with_suspect([B], "t"), "", "", critical).obstacle
        assert look_at(PLACE.with_suspect([A], "t"), "", "", critical).obstacle
        none = GoalUnits(parse_goal("critical"), phased(("a", 0, Criticality.NORMAL)))
        assert look_at(PLACE.with_suspect([A], "t"), "", "", none).obstacle

    def test_a_phase_that_is_not_there_is_not_reached(self) -> None:
        units = GoalUnits(parse_goal("phase=coer"), MANIFEST)
        seen = look_at(PLACE, "", "", units)
        assert seen.obstacle == "it has no such phase; it has core, serving, rest"
        assert not seen.is_lacking


class TestJudging:
    def test_it_is_reached_where_any_place_has_it(self) -> None:
        found = judge(NAMED, VersionSeen((SUSPECT, HERE)))
        assert (found.version, found.place, found.waiting_for) == (NEW, HERE, "")

    def test_before_anybody_asked_for_it_somebody_is_waited_for(self) -> None:
        assert judge(NAMED, VersionSeen()).waiting_for == (
            "somebody to recover llama@1200, which is not here"
        )
        assert judge(NOTHING, VersionSeen()).waiting_for == (
            "somebody to recover llama, which is not here"
        )
        assert judge(NAMED, VersionSeen((LACKING,))).waiting_for == (
            "somebody to recover llama@1200, of which required units are not here"
        )

    def test_a_recovery_that_is_under_way_is_named(self) -> None:
        found = judge(replace(NAMED, recoveries=[BRINGING]), VersionSeen((LACKING,)))
        assert found.waiting_for == "recovery r-1 of llama@1200, transferring"
        assert found.recovery == "r-1"
        paused = replace(BRINGING, is_paused=True)
        found = judge(replace(NAMED, recoveries=[paused]), VersionSeen())
        assert found.waiting_for == "recovery r-1 of llama@1200, paused"

    def test_one_that_brings_it_is_named_before_one_that_may(self) -> None:
        choosing = RecoverySeen("r-2", None, Stage.SEEKING)
        found = judge(replace(NAMED, recoveries=[choosing, BRINGING]), VersionSeen())
        assert found.recovery == "r-1"

    def test_what_is_doubted_is_waited_for_and_says_why(self) -> None:
        found = judge(NAMED, VersionSeen((LACKING, SUSPECT)))
        assert found.waiting_for == "llama@1200 in /data/llama/1200: it looks different"
        assert not found.why_not

    @pytest.mark.parametrize(
        ("result", "why"),
        [
            (Result.FAILED, "recovery r-1 of llama@1200 failed: nobody has it"),
            (Result.CANCELLED, "recovery r-1 of llama@1200 was cancelled"),
            (Result.PARTIAL, "recovery r-1 of llama@1200 brought a part of it"),
            (Result.CHOSEN, "recovery r-1 of llama@1200 brought a part of it"),
        ],
    )
    def test_a_recovery_that_ends_without_it_ends_the_wait(self, result: Result, why: str) -> None:
        ended = replace(FAILED, result=result)
        found = judge(replace(NAMED, ended=ended), VersionSeen((LACKING,)))
        assert (found.why_not, found.ended, found.waiting_for) == (why, ended, "")

    def test_unless_another_one_is_under_way_or_follows(self) -> None:
        sight = replace(NAMED, ended=FAILED, recoveries=[replace(BRINGING, recovery="r-2")])
        assert judge(sight, VersionSeen()).recovery == "r-2"
        follower = replace(FAILED, result=Result.CHOSEN, follower="r-3")
        assert judge(replace(NAMED, ended=follower), VersionSeen((LACKING,))).waiting_for == (
            "recovery r-3, which brings the rest of llama@1200"
        )

    def test_or_failures_are_waited_through(self) -> None:
        found = judge(replace(NAMED, ended=FAILED), VersionSeen(), through_failures=True)
        assert found.waiting_for == (
            "another recovery of llama@1200, which is not here; "
            "recovery r-1 of llama@1200 failed: nobody has it"
        )

    def test_what_came_whole_and_was_withdrawn_since_may_come_back(self) -> None:
        withdrawn = PlaceSeen("/d", "ab", "it is withdrawn")
        for result in (Result.COMPLETE, Result.PARTIAL):
            sight = replace(NAMED, ended=replace(FAILED, result=result))
            assert judge(sight, VersionSeen((withdrawn,))).waiting_for == (
                "llama@1200 in /d: it is withdrawn"
            )

    def test_a_phase_that_the_version_has_not_is_an_error_once_it_must_be_the_one(self) -> None:
        why = "llama@1200 has no phase 'core'; it has all"
        named = replace(NAMED, goal=CORE)
        other = PlaceSeen("/d", "ab", "it has no such phase; it has all")
        assert judge(named, VersionSeen((other,), ("all",))).why_not == why
        coming = replace(NOTHING, goal=CORE, recoveries=[replace(BRINGING, phases=("all",))])
        assert judge(coming, VersionSeen()).why_not == why

    def test_before_a_recovery_was_asked_for_another_version_may_have_it(self) -> None:
        other = PlaceSeen("/d", "ab", "it has no such phase; it has all")
        sight = replace(NOTHING, goal=CORE, standing=frozenset({OLD}))
        found = judge(sight, VersionSeen((other,), ("all",)))
        assert found.waiting_for == "llama@1100 in /d: it has no such phase; it has all"

    def test_the_newest_says_whom_it_waits_for(self) -> None:
        goal = parse_goal("newest")
        unsettled = Sight("llama", goal, newest=NewestSeen(NEW, is_settled=False))
        assert judge(unsettled, VersionSeen()).waiting_for == (
            "this node and its peers to say what they hold"
        )
        none = Sight("llama", goal, newest=NewestSeen(None, "nobody has it"))
        assert judge(none, VersionSeen()).waiting_for == (
            "a version of llama that can be had: nobody has it"
        )
        there = Sight("llama", goal, newest=NewestSeen(NEW))
        assert judge(there, VersionSeen((HERE,))).place == HERE
