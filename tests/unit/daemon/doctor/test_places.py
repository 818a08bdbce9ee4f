"""What is said of places that are not as they were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.daemon.doctor.places import judge_places
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import CheckResult
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.places import HeldVersion, Place

FACTS = Holding(CheckpointName("llama"), Version(7), Digest("aa"), 4, 4, BlockSet())
PLACE = Place(
    number=1,
    root="data",
    directory="v7",
    is_published=True,
    is_withdrawn=False,
    added_at_s=1.0,
    checked_at_s=2.0,
    scrubbed_units=0,
    unit_count=4,
    blocks=BlockSet.full(4),
)


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    root = Root.open("data", str(tmp_path))
    yield Roots([root])
    root.close()


def findings(roots: Roots, *places: Place) -> list[tuple[CheckResult, str]]:
    rows = judge_places([HeldVersion(FACTS, (place,)) for place in places], roots)
    return [(row.verdict, row.finding) for row in rows]


def test_where_nothing_changed_nothing_is_asked_for(roots: Roots) -> None:
    well = (CheckResult.OK, "no file is known to have changed")
    assert findings(roots) == [well]
    assert findings(roots, PLACE, replace(PLACE, is_withdrawn=True)) == [well]


def test_what_is_read_again_is_no_fault(roots: Roots) -> None:
    suspect = PLACE.with_suspect([1], "touched")
    assert findings(roots, suspect) == [
        (CheckResult.OK, "no file is known to have changed; 1 is read again")
    ]


def test_what_was_not_looked_at_yet_is_said(roots: Roots) -> None:
    assert findings(roots, PLACE, replace(PLACE, number=2, is_unseen=True)) == [
        (
            CheckResult.OK,
            "no file is known to have changed; 1 is not looked at yet since ckptd started",
        )
    ]


def test_links_that_changed_are_no_units_that_did(roots: Roots, tmp_path: Path) -> None:
    wrong = PLACE.with_wrong_names({"l": f"symbolic link {tmp_path}/v7/l: was removed"})
    [(verdict, finding)] = findings(roots, wrong)
    assert verdict is CheckResult.WARN
    assert finding == (
        "llama@7 is stale, 1 link or empty directory changed, all units are served: "
        "symbolic link l: was removed"
    )


def test_what_changed_is_named_with_what_to_do(roots: Roots, tmp_path: Path) -> None:
    some, all_of_it = PLACE.with_changed([1], "was written"), PLACE.with_changed(range(4), "gone")
    assert findings(roots, some, all_of_it) == [
        (
            CheckResult.WARN,
            "llama@7 is stale, 1 of 4 units changed, the others are served: was written",
        ),
        (CheckResult.WARN, "llama@7 is stale, 4 of 4 units changed, nothing is served: gone"),
    ]
    [row] = judge_places([HeldVersion(FACTS, (some,))], roots)
    assert row.subject == str(tmp_path / "v7")
    assert f"ckptctl recover llama@7 --to {tmp_path}/v7" in row.remedy
    assert f"ckptctl forget llama@7 --place {tmp_path}/v7" in row.remedy


def test_what_was_left_out_is_counted(roots: Roots) -> None:
    partial = replace(PLACE, absent=frozenset({0, 3, 4}), lacking=frozenset({0, 3}))
    assert findings(roots, partial) == [
        (CheckResult.WARN, "llama@7 in part: 2 required of 4 units lack")
    ]


def test_of_many_places_ten_are_named(roots: Roots) -> None:
    stale = PLACE.with_changed([1], "was written")
    assert len(findings(roots, *[stale] * 10)) == 10
    *_, last = findings(roots, *[stale] * 13)
    assert last == (CheckResult.WARN, "are stale or in part")
    [*_, row] = judge_places([HeldVersion(FACTS, (stale,))] * 13, roots)
    assert row.subject == "3 more"


def test_what_was_never_placed_is_not_counted_among_what_changed(roots: Roots) -> None:
    in_part = replace(PLACE, absent=frozenset({1, 2, 3}), lacking=frozenset({1, 2, 3}))
    [(_, finding)] = findings(roots, in_part.with_changed([0], "was written"))
    assert finding == "llama@7 is stale, 1 of 1 unit changed, nothing is served: was written"
