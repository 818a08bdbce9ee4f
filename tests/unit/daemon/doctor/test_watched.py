"""Whether what happens to files on offer is noticed."""

from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.daemon.doctor.watched import judge_appeared, judge_saves, judge_watching
from ckptd.daemon.keep.keeping import Keep
from ckptd.daemon.keep.taking_saves import WatchedDirectory
from ckptd.model.ids import Version
from ckptd.model.watch_decisions import SavedVerdict
from ckptd.model.words import NotTaken, SavedState


def watched(*verdicts: SavedVerdict, obstacle: str = "") -> WatchedDirectory:
    rule = SimpleNamespace(directory="/data/run")
    found = SimpleNamespace(rule=rule, verdicts=list(verdicts), obstacle=obstacle)
    return cast("WatchedDirectory", found)


def verdict(number: int, reason: NotTaken | None) -> SavedVerdict:
    state = SavedState.NOT_TAKEN if reason else SavedState.TAKEN
    return SavedVerdict(f"step-{number}", Version(number), state, "so it is", reason=reason)


def test_what_came_after_publishing_is_a_warning_with_what_to_do() -> None:
    assert not list(judge_appeared(Keep(1, 0, "", 0, 0, None)))
    [row] = judge_appeared(Keep(1, 0, "", 0, 0, None, appeared=("/data/v1/.metadata",)))
    assert (row.verdict, row.subject) == ("warn", "/data/v1/.metadata")
    assert "is no part of that version" in row.finding
    assert "publish the directory again" in row.remedy


def test_a_watched_directory_that_cannot_be_looked_into_is_named_with_the_reason() -> None:
    [row] = judge_saves([watched(obstacle="/data/run: does not exist")])
    assert (row.check, row.verdict, row.subject) == ("saves", "warn", "/data/run")
    assert row.finding.endswith("nothing saved there is on offer: /data/run: does not exist")
    assert row.remedy


def test_the_newest_save_that_is_refused_is_named_and_older_ones_are_not() -> None:
    refused, taken = verdict(2, NotTaken.REFUSED), verdict(3, None)
    [row] = judge_saves([watched(refused)])
    assert (row.verdict, row.subject) == ("warn", "/data/run/step-2")
    assert row.finding == "is not on offer: so it is"
    assert [row.verdict for row in judge_saves([watched(taken, refused)])] == ["ok"]


@pytest.mark.parametrize("verdicts", [(), (verdict(2, NotTaken.WITHDRAWN),), (verdict(2, None),)])
def test_saves_that_are_as_somebody_wants_them_are_no_warning(
    verdicts: tuple[SavedVerdict, ...],
) -> None:
    [row] = judge_saves([watched(*verdicts), watched()])
    assert (row.verdict, row.subject) == ("ok", "2 watched directories")
    assert not list(judge_saves([]))


def test_directories_on_offer_are_counted_in_words_that_fit() -> None:
    one, two = (judge_watching(Keep(count, 0, "", 0, 0, None)).finding for count in (1, 2))
    assert one.startswith("1 directory on offer")
    assert two.startswith("2 directories on offer")
