"""Copies fit a screen, what is short comes first, and what is not known is not guessed."""

from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.copies_text import copies_lines
from ckptd.control.messages.copies import CopiedVersion, CopiesView
from ckptd.model.words import CopiedBecause, CopiesState, GivenBackBecause
from tests.support.control_samples import COPIES

ROWS, COLUMNS = 24, 80


def fleet(whole: int, short: int, *, left_out: int = 0) -> CopiesView:
    """Return a fleet of so many names, the worst first."""
    (bad,) = COPIES.versions
    good = replace(
        bad,
        state=CopiesState.WHOLE,
        counts=tuple(
            replace(each, state=CopiesState.WHOLE, because=None, why="", proven=2, claimed=2)
            for each in bad.counts
        ),
    )

    def named(each: CopiedVersion, number: int) -> CopiedVersion:
        return replace(each, checkpoint=f"jobs/llama-{number:04}")

    return replace(
        COPIES,
        checkpoints=whole + short,
        whole=whole,
        under_replicated=short,
        versions=(
            *(named(bad, number) for number in range(short)),
            *(named(good, number) for number in range(short, short + whole)),
        ),
        left_out=left_out,
    )


def test_what_is_short_is_shown_with_why() -> None:
    assert copies_lines(COPIES, COLUMNS) == [
        "1 version of 1 name: 0 whole, 1 under-replicated",
        "copies here: 300 GiB of 2 TiB in root copies, 70 GiB less for being compressed",
        "2 nodes keep copies; silent: node-d (for 3m00s)",
        "1 zone; this node is in row-1/rack-7; zone not known of node-d",
        "",
        "VERSION     CLASS     COPIES  CLAIMED  ZONES  STATE",
        "llama@1200  critical  1 of 2  1        1      under-replicated",
        "  node-d is lost, replaced in 7m00s",
    ]


def test_classes_that_are_short_for_one_reason_say_it_once() -> None:
    (row,) = COPIES.versions
    normal = replace(row.counts[0], criticality="normal")
    lines = copies_lines(replace(COPIES, versions=(replace(row, counts=(*row.counts, normal)),)))
    assert [line.strip() for line in lines].count("node-d is lost, replaced in 7m00s") == 1


def test_who_holds_what_is_shown_on_request() -> None:
    line = copies_lines(COPIES, COLUMNS, is_all=True, is_wide=True)[-1]
    assert line.endswith("node-a (row-1/rack-7), node-d (zone?, silent)")


def test_what_this_node_does_is_said_once_for_each_version() -> None:
    (row,) = COPIES.versions
    more = replace(row, counts=(*row.counts, replace(row.counts[0], criticality="normal")))

    def said(**changes: object) -> list[str]:
        view = replace(COPIES, versions=(replace(more, **changes),))
        return copies_lines(view, is_all=True, is_wide=True)[-2:]

    first, second = said(fetched_because=CopiedBecause.MISSING)
    assert "replaced in 7m00s; is fetched here " in first
    assert "is fetched here" not in second
    first, _ = said(given_back_because=GivenBackBecause.SURPLUS, trouble="a peer recovers it")
    assert "7m00s; too many, so that here goes, not yet: a peer recovers it " in first
    first, _ = said(given_back_because=GivenBackBecause.OLD)
    assert "7m00s; old, so that here goes " in first


def test_a_thousand_names_fit_a_screen() -> None:
    for view in (fleet(1000, 0), fleet(990, 10), fleet(0, 1000), fleet(0, 4096, left_out=5000)):
        lines = copies_lines(view, COLUMNS)
        assert len(lines) < ROWS
        assert max(map(len, lines)) <= COLUMNS


def test_more_than_a_screen_is_counted() -> None:
    lines = copies_lines(fleet(0, 1000, left_out=7), COLUMNS)
    assert lines[4] == "  1000 times: node-d is lost, replaced in 7m00s"
    assert lines[-1].startswith("1002 more rows: ")
    assert "990 whole, 10 under-replicated" in copies_lines(fleet(990, 10), COLUMNS)[0]
    assert copies_lines(fleet(5, 0), COLUMNS)[-1].startswith("'ckptctl copies -o wide' shows what")


def test_all_rows_are_shown_if_they_are_asked_for() -> None:
    assert len(copies_lines(fleet(30, 30), COLUMNS, is_all=True)) == 4 + 2 + 2 * 30 + 30


def test_without_names_no_numbers_are_shown() -> None:
    lines = copies_lines(replace(COPIES, names=(), versions=()))
    assert lines == ["no copies are kept here: [copies] names nothing"]


def test_what_is_not_known_is_said_to_be_so() -> None:
    nothing = replace(COPIES, age_s=None, is_settled=False, under_replicated=0, versions=())
    assert copies_lines(nothing)[0] == (
        "nothing was looked at yet: how many copies there are is not known"
    )
    bare = replace(COPIES, under_replicated=0, versions=(), members=())
    assert copies_lines(bare)[2:] == ["this node is in row-1/rack-7"]
    none = replace(COPIES, under_replicated=0, versions=(), zone="")
    lines = copies_lines(none)
    assert lines[0] == "no version of what [copies] names is known"
    assert "this node's zone is not known" in lines[3]
    early = copies_lines(replace(COPIES, is_settled=False, age_s=60.0))
    assert early[1].startswith("not every peer was heard yet since the start")
    assert early[2] == "as it was seen 1m00s ago"


def test_zones_that_are_not_known_are_marked() -> None:
    (row,) = COPIES.versions
    for zones, unknown, shown in ((2, 0, "2"), (1, 1, "1+?"), (0, 2, "?")):
        counts = tuple(replace(each, zones=zones, unknown_zones=unknown) for each in row.counts)
        view = replace(COPIES, versions=(replace(row, counts=counts),))
        assert copies_lines(view)[-2].split()[-2:] == [shown, "under-replicated"]


def test_what_peers_are_called_moves_no_cursor() -> None:
    (row,) = COPIES.versions
    counts = tuple(replace(each, why="\x1b[2J is lost") for each in row.counts)
    members = tuple(replace(each, node="\x1b[2J") for each in COPIES.members)
    view = replace(COPIES, versions=(replace(row, counts=counts),), members=members)
    assert "\x1b" not in "".join(copies_lines(view))


def test_what_is_in_the_way_is_shown() -> None:
    (row,) = COPIES.versions
    view = replace(
        COPIES,
        versions=(replace(row, trouble="the disk is gone"),),
        obstacle="the database refuses",
        conflicts=tuple(f"llama@{number}" for number in range(6)),
    )
    lines = copies_lines(view, 160)
    assert lines[1] == "nothing is decided: the database refuses"
    assert lines[2].endswith("llama@0, llama@1, llama@2, llama@3 and 2 more")
    assert lines[-1] == "  node-d is lost, replaced in 7m00s; here: the disk is gone"
