import json

import msgspec
import pytest

from ckptd.cli.render.text import (
    SOURCES_SHOWN_MAX,
    json_line,
    peer_lines,
    picture_of,
    printable,
    published_lines,
    publishing_picture,
    result_lines,
    status_lines,
    table,
)
from ckptd.control.messages.milestone_rows import PhaseRow
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.control.messages.running_recoveries import SourceRow
from ckptd.limits import GIB, MIB
from ckptd.model.words import (
    FailureCause,
    PeerState,
    Result,
    SourceState,
    Stage,
)
from tests.support.control_samples import (
    PEER,
    PUBLISH_PROGRESS,
    PUBLISH_RESULT,
    RESULT,
    STATUS,
    VIEW,
)

replace = msgspec.structs.replace


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("llama/rank-0", "llama/rank-0"),
        ("Gewicht-ä-重み", "Gewicht-ä-重み"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\tc\x7f", r"a\nb\tc\x7f"),
        ("\x9b31m\u202eabc", r"\x9b31m\u202eabc"),
    ],
)
def test_what_could_move_a_cursor_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["plain", "ä", "\x1b[2J", "\x9b31m", "\u202e", "\U000e0001"])
def test_json_prints_no_control_character_and_means_the_same(text: str) -> None:
    line = json_line({"node": text})
    assert line.isprintable()
    assert json.loads(line) == {"node": text}


def test_a_table_has_columns_as_wide_as_their_cells() -> None:
    assert table(("NODE", "N"), [("node-b", "1"), ("c", "12345")]) == [
        "NODE    N",
        "node-b  1",
        "c       12345",
    ]


def test_a_table_that_is_too_wide_loses_the_ends_of_its_widest_column() -> None:
    assert table(("NODE", "N"), [("node-with-a-long-name", "1"), ("c", "12345")], width=16) == [
        "NODE       N",
        "node-wit…  1",
        "c          12345",
    ]


def test_a_table_leaves_out_columns_in_an_order_and_cuts_no_number() -> None:
    def shown(width: int) -> list[str]:
        rows = [("a-long-name/rank@1200", "123456789", "5")]
        header = ("NAME", "BYTES", "N")
        return table(header, rows, width, whole=("BYTES", "N"), left_out=("N", "BYTES"))

    assert shown(40)[1] == "a-long-name/rank@1200  123456789  5"
    assert shown(22)[1] == "a-…@1200  123456789  5"
    assert shown(21)[1] == "a-lo…@1200  123456789"
    assert shown(18)[1] == "a-long-name/…@1200"


def test_a_cell_with_a_line_break_stays_on_its_line() -> None:
    assert table(("A",), [("x\ny",)]) == ["A", r"x\ny"]


def test_status_is_one_fact_a_line() -> None:
    assert status_lines(STATUS) == [
        "node         node-a, up 3h05m, ckptd 0.1.0",
        "data         0.0.0.0:7421",
        "metrics      off",
        "control      /run/ckptd/ckptd.sock",
        "root ckpt    /data, 1.5 GiB free",
        "checkpoints  2 versions whole here",
        "peers        3 of 4 reachable",
        "event loop   2ms late",
    ]


def test_status_ends_with_the_recoveries_that_go_on() -> None:
    lines = status_lines(replace(STATUS, recoveries=(VIEW, replace(VIEW, target=""))))
    shown = picture_of(VIEW).lines
    assert lines[8:] == [
        *("", f"01J9QX → {VIEW.target}", *shown),
        *("", "01J9QX → not chosen yet", *shown),
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_status_fits_a_narrow_terminal_and_cuts_no_number(width: int) -> None:
    lines = status_lines(replace(STATUS, recoveries=(replace(VIEW, checkpoint="c" * 99),)), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for number in ("37/120 units", "1.5 GiB/s", "25%", "@100", "900 MiB/s", "636 MiB/s"):
        assert number in " ".join(text.split())


def test_status_counts_the_places_that_are_not_simply_here() -> None:
    def line(**places: int) -> str:
        return status_lines(replace(STATUS, checkpoints=1, places=places))[5]

    assert line(here=1, stale=0) == "checkpoints  1 version whole here"
    assert line(here=2, suspect=1, stale=3) == (
        "checkpoints  1 version whole here; places: 2 here, 1 suspect, 3 stale"
    )


def test_peers_say_why_they_do_not_answer() -> None:
    lost = replace(
        PEER,
        node=None,
        address="10.0.0.3:7421",
        state=PeerState.UNREACHABLE,
        versions=0,
        rate_bytes_per_s=0.0,
        last_error="connection refused",
    )
    assert peer_lines([PEER, lost]) == [
        "NODE    ADDRESS        STATE        VERSIONS  RATE       ERROR",
        "node-b  10.0.0.2:7421  live         3         900 MiB/s",
        "-       10.0.0.3:7421  unreachable  0         -          connection refused",
    ]


def test_a_recovery_that_moves_shows_what_each_source_gives() -> None:
    picture = picture_of(VIEW)
    assert picture.stage == "transferring"
    assert picture.line == (
        "llama/rank-0@100: transferring, 37/120 units, 1.5 GiB of 2 GiB left, 1.5 GiB/s, ETA 1.0s"
    )
    assert picture.lines == (
        "llama/rank-0@100  transferring  0.4s",
        "██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 25%",
        "37/120 units, 1.5 GiB of 2 GiB left, 1.5 GiB/s, ETA 1.0s",
        "SOURCE  STATE        RATE       GAVE     IN FLIGHT",
        "node-b  active       900 MiB/s  300 MiB  32 MiB",
        "node-c  backing off  636 MiB/s  212 MiB  0 B",
    )


def test_a_recovery_that_stands_still_says_why() -> None:
    view = replace(
        VIEW,
        rate_bytes_per_s=0.0,
        eta_s=None,
        waiting_for="no reachable source has the rest",
        missing_blocks=3,
        missing_units=("optimizer/a", "optimizer/b"),
        sources=(),
    )
    picture = picture_of(view)
    assert picture.line.endswith("ETA -; waiting: no reachable source has the rest")
    assert picture.lines[2:] == (
        "37/120 units, 1.5 GiB of 2 GiB left, 0 B/s, ETA -",
        "waiting: no reachable source has the rest",
        "nobody has all of: optimizer/a, optimizer/b",
    )


def test_a_recovery_with_long_names_and_many_sources_fits_80_columns() -> None:
    view = replace(
        VIEW,
        checkpoint="x" * 255,
        waiting_for="w " * 300,
        missing_blocks=9,
        missing_units=("u" * 500,) * 20,
        sources=tuple(
            SourceRow(
                node="n" * 120 + str(index),
                path="n" * 120 + str(index),
                state=SourceState.DISTRUSTED,
                bytes=999 * GIB,
                rate_bytes_per_s=float(999 * MIB),
                in_flight_bytes=999 * MIB,
            )
            for index in range(SOURCES_SHOWN_MAX + 5)
        ),
    )
    lines = picture_of(view).lines
    assert max(map(len, lines)) <= 80
    assert len(lines) < 24
    assert lines[-1] == "and 5 more"


def test_a_good_end_says_from_where_every_byte_came() -> None:
    assert result_lines(RESULT) == [
        "recovered llama/rank-0@100: 2 GiB in 1.4s (1.43 GiB/s),",
        "  every block verified → /data/llama/rank-0/100",
        "critical units after 0.3s",
        "sources: node-b 1.17 GiB, node-c 848 MiB; resumed 0 B, wasted 0 B",
    ]


def test_a_good_end_says_when_how_much_of_it_was_there() -> None:
    rows = [
        PhaseRow(
            name=name,
            units=1,
            bytes_total=GIB,
            bytes_left=0,
            complete_after_s=complete_s,
            placed_after_s=1.4,
        )
        for name, complete_s in (("core", 0.6), ("rest", 1.3))
    ]
    known = replace(
        RESULT, first_unit_after_s=0.1, usable_after_s=1.4, phases=tuple(rows), complete_after_s=1.4
    )
    assert result_lines(known)[2:4] == [
        "first unit after 0.1s, critical units after 0.3s, usable after 1.4s",
        "core usable after 1.4s; rest usable after 1.4s",
    ]


def test_a_good_end_that_is_short_has_its_target_on_the_same_line() -> None:
    small = replace(
        RESULT, checkpoint="a", version=1, bytes_total=0, bytes_received=0, duration_s=0.0,
        target="/d", sources=(), time_to_critical_s=None,
    )  # fmt: skip
    assert result_lines(small) == [
        "recovered a@1: 0 B in 0.0s (0 B/s), every block verified → /d",
        "sources: none; resumed 0 B, wasted 0 B",
    ]


def test_a_good_end_says_what_was_predicted_if_that_could_be_said() -> None:
    predicted = replace(RESULT, predicted_duration_s=1.31, predicted_critical_s=0.2)
    assert "predicted 1.3s, took 1.4s" in result_lines(predicted)


def test_a_complete_end_names_optional_units_that_are_missing() -> None:
    lines = result_lines(replace(RESULT, missing_units=("logs/a",)))
    assert lines[0].startswith("recovered llama/rank-0@100: 2 GiB in")
    assert "missing, optional: logs/a" in lines


def test_a_partial_end_names_what_is_missing() -> None:
    degraded = replace(
        RESULT,
        result=Result.PARTIAL,
        missing_units=("opt/a", "opt/\x1b"),
        bytes_placed=5 * GIB // 4,
        bytes_resumed=GIB,
        bytes_received=GIB // 2,
        bytes_wasted=GIB // 8,
    )
    assert result_lines(degraded) == [
        "recovered llama/rank-0@100 in part: 1.25 GiB of 2 GiB in 1.4s (366 MiB/s),",
        "  every block verified → /data/llama/rank-0/100",
        "critical units after 0.3s",
        r"missing: opt/a, opt/\x1b",
        "sources: node-b 1.17 GiB, node-c 848 MiB; resumed 1 GiB, wasted 128 MiB",
    ]


def test_a_failed_end_says_what_made_it_fail() -> None:
    failed = replace(
        RESULT,
        result=Result.FAILED,
        cause=FailureCause.CRITICAL_MISSING,
        message="nobody has model.safetensors",
        missing_units=("model.safetensors",),
    )
    assert result_lines(failed) == [
        "recovery 01J9QX of llama/rank-0@100 failed: nobody has model.safetensors",
        "missing: model.safetensors",
    ]


def test_a_cancelled_end_is_one_line() -> None:
    cancelled = replace(RESULT, result=Result.CANCELLED)
    assert result_lines(cancelled) == ["recovery 01J9QX of llama/rank-0@100 cancelled"]


def test_publishing_shows_files_and_bytes() -> None:
    picture = publishing_picture(PUBLISH_PROGRESS)
    assert picture.line == "publishing: 3/12 files, 512 MiB of 2 GiB"
    assert picture.lines == (
        "██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 25%",
        "3/12 files, 512 MiB of 2 GiB",
    )


@pytest.mark.parametrize(
    ("is_new", "first"),
    [
        (True, "published llama/rank-0@100: 2 GiB, 12 units in 0.7s"),
        (False, "already published, unchanged: llama/rank-0@100: 2 GiB, 12 units in 0.7s"),
    ],
)
def test_a_publishing_ends_with_the_digest(is_new: bool, first: str) -> None:
    lines = published_lines(replace(PUBLISH_RESULT, is_new=is_new))
    assert lines == [first, f"digest {'ab' * 32}"]


def test_a_publishing_says_what_it_left_out() -> None:
    result = replace(PUBLISH_RESULT, excluded=("train.log", "a\nb.log"), excluded_files=30)
    assert published_lines(result)[-1] == "left out: train.log, a\\nb.log and 28 more"


def test_links_and_empty_directories_are_counted_beside_units() -> None:
    result = replace(PUBLISH_RESULT, links=2, empty_directories=1)
    assert ", 12 units, 2 links, 1 empty directory in " in published_lines(result)[0]


def test_a_publishing_says_of_which_prerequisites_this_part_has_none() -> None:
    result = replace(PUBLISH_RESULT, unresolved=("latest (p rule[3])",))
    assert published_lines(result)[-1] == (
        "not in this part of the job, so nothing waits for it: latest (p rule[3])"
    )


def test_a_dry_run_says_what_would_be_published() -> None:
    result = replace(
        PUBLISH_RESULT, digest="", is_dry_run=True, excluded=("x.log",), excluded_files=1
    )
    assert published_lines(result) == [
        "would publish llama/rank-0@100: 2 GiB, 12 units, from /data/llama/rank-0/100",
        "left out: x.log",
        "nothing was published: this is what would be",
    ]


def test_what_was_withdrawn_is_on_offer_again_when_it_is_published() -> None:
    [first, _] = published_lines(replace(PUBLISH_RESULT, is_new=False, is_back=True))
    assert first == "on offer again, unchanged: llama/rank-0@100: 2 GiB, 12 units in 0.7s"


def test_a_recovery_in_the_background_is_called_that() -> None:
    background = replace(VIEW, is_background=True)
    assert "transferring in the background" in picture_of(background).line
    assert picture_of(replace(background, is_paused=True)).stage == "paused in the background"
    ended = replace(background, stage=Stage.CANCELLED)
    assert "background" not in picture_of(ended).line


def test_a_version_that_is_here_already_is_not_called_recovered() -> None:
    result = replace(RESULT, was_here=True, bytes_local=RESULT.bytes_total)
    [line] = result_lines(result)
    assert line == f"{RESULT.checkpoint}@{RESULT.version} is here already: {RESULT.target}"


def test_what_stays_in_memory_is_said_where_it_is_not_all_or_nothing() -> None:
    placed = replace(RESULT, bytes_placed=2 * GIB)
    account = " ".join(map(str.strip, result_lines(replace(placed, bytes_kept_warm=GIB))))
    assert account.endswith("1 GiB stay in memory while there is room")
    for kept_bytes in (0, 2 * GIB):
        lines = result_lines(replace(placed, bytes_kept_warm=kept_bytes))
        assert "in memory" not in " ".join(lines)


def test_what_was_copied_on_this_node_has_no_rate_of_peers() -> None:
    copied = replace(RESULT, bytes_received=0, bytes_local=2 * GIB, sources=())
    assert result_lines(copied)[0].startswith(
        "recovered llama/rank-0@100: 2 GiB in 1.4s (copied here)"
    )
    both = replace(RESULT, bytes_local=GIB, bytes_reused=GIB // 2)
    assert "/s)" in result_lines(both)[0]
    account = " ".join(" ".join(result_lines(both)).split())
    assert "512 MiB copied on this node, 512 MiB were here or zeros" in account


def test_what_was_published_says_what_it_is_of_some_use_with() -> None:
    first = MinimalSetView(phase="core", units=3, bytes=GIB, is_everything=False, predicted_s=1.2)
    plain = published_lines(PUBLISH_RESULT)
    said = "first phase core: 3 units, 1 GiB"
    lines = published_lines(replace(PUBLISH_RESULT, minimal_set=first))
    assert lines == [*plain, f"{said}; at a peer in 1.2s"]
    unknown = replace(first, predicted_s=None)
    assert published_lines(replace(PUBLISH_RESULT, minimal_set=unknown)) == [*plain, said]
    alone = replace(first, is_everything=True)
    assert published_lines(replace(PUBLISH_RESULT, minimal_set=alone)) == plain


def test_a_good_end_says_what_became_of_the_link_that_was_to_lead_there() -> None:
    active = replace(RESULT, link="/data/llama/rank-0/current")
    said = "it is active: /data/llama/rank-0/current leads to it"
    assert result_lines(active)[-1] == said
    assert result_lines(replace(active, was_here=True))[-1] == said
    failed = replace(RESULT, link_problem="link /data/c: is no link. Remove it.")
    assert result_lines(failed)[-1] == (
        "it did not become active: link /data/c: is no link. Remove it."
    )
