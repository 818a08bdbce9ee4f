"""What jobs that save do, as a person reads it: on a screen, with what is not known said so."""

from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.workload_text import ROWS_SHOWN_MAX, workload_lines
from ckptd.control.messages.workloads import AbsorbingView
from tests.support.control_samples import WORKLOAD

ALL = replace(WORKLOAD, versions=())
LLAMA, EVALS = WORKLOAD.rows


def test_what_is_known_is_a_line_for_each_job_and_what_mends_it() -> None:
    assert workload_lines(ALL, 100) == [
        "CHECKPOINT        EVERY    SAVED    SIZE     NEW      HASHED   COPIED   BROUGHT",
        "llama (8 shards)  10s      4s ago   2 GiB    34%      12s      8.0s     unknown",
        "evals             unknown  unknown  unknown  unknown  unknown  unknown  1m01s",
        "",
        "llama is saved every 10s, and a version takes 12s to hash, at 170 MiB/s: ckptd",
        "  falls behind. Set rate of its [[watch]] to 300 MiB/s; it is 200 MiB/s.",
        "hashing saves takes 120% of the time",
        "this node can take in: recoveries brought 812 MiB/s, the fastest of the last 12;",
        "  the fastest peer delivers 1.1 GiB/s, node-b",
    ]


def test_of_one_its_versions_are_shown_the_latest_first() -> None:
    lines = workload_lines(WORKLOAD, 100)
    start = lines.index("") + 1
    assert lines[start : start + 3] == [
        "VERSION  SAVED    SIZE     NEW      HASHED         COPIED   BROUGHT",
        "200      4s ago   2 GiB    34%      12s            8.0s     unknown",
        "190      13s ago  unknown  unknown  not published  unknown  unknown",
    ]


def test_what_was_brought_need_not_be_published_and_what_is_very_short_is_not_nothing() -> None:
    brought = replace(WORKLOAD.versions[0], brought_s=0.02)
    lines = workload_lines(replace(WORKLOAD, versions=(brought,)), 100)
    assert lines[lines.index("") + 2].split()[-3:] == ["unknown", "unknown", "<0.1s"]


def test_a_single_shard_is_one() -> None:
    view = replace(ALL, rows=(replace(LLAMA, shards=1),))
    assert workload_lines(view, 100)[1].startswith("llama (1 shard)  ")


def test_its_shards_are_shown_where_they_are_asked_for() -> None:
    view = replace(ALL, shards=(replace(LLAMA, checkpoint="llama/shard-0-of-8", shards=0),))
    assert not any("shard-0" in line for line in workload_lines(view))
    assert any("shard-0" in line for line in workload_lines(view, has_shards=True))


def test_those_that_are_still_saved_come_first_and_the_latest_of_them() -> None:
    rows = (EVALS, replace(LLAMA, checkpoint="older", saved_age_s=60.0), LLAMA)
    lines = workload_lines(replace(ALL, rows=rows))
    assert [line.split()[0] for line in lines[1:4]] == ["llama", "older", "evals"]


def test_it_fits_a_screen_and_says_what_was_left_out() -> None:
    rows = tuple(replace(LLAMA, checkpoint=f"a-job-with-a-long-name-{n}") for n in range(200))
    outrun = tuple(replace(WORKLOAD.outrun[0], checkpoint=row.checkpoint) for row in rows)
    view = replace(ALL, rows=rows, outrun=outrun)
    lines = workload_lines(view, 80)
    assert len(lines) <= 24
    versions = tuple(replace(WORKLOAD.versions[1], version=number) for number in range(16))
    assert len(workload_lines(replace(WORKLOAD, versions=versions), 80)) <= 24
    assert max(map(len, lines)) <= 80
    assert f"… and {200 - ROWS_SHOWN_MAX} more: -o wide" in lines
    assert "… and 197 more: 'ckptctl doctor'" in lines
    assert len(workload_lines(view, 80, is_wide=True)) > 400


def test_what_is_not_known_of_a_node_is_said_so() -> None:
    nothing = AbsorbingView(recoveries=0, brought_bytes_per_s=None, peer="", peer_bytes_per_s=None)
    view = replace(ALL, rows=(EVALS,), outrun=(), hashing_share=None, absorbing=nothing)
    assert workload_lines(view, 80)[2:] == [
        "",
        "hashing saves takes unknown",
        "this node can take in: recoveries brought unknown; the fastest peer delivers",
        "  unknown",
    ]


def test_no_name_moves_the_cursor() -> None:
    bad = replace(LLAMA, checkpoint="bad\x1b[2J")
    view = replace(ALL, rows=(bad,), outrun=(replace(WORKLOAD.outrun[0], checkpoint="bad\x1b"),))
    assert all(line.isprintable() for line in workload_lines(view, 80))
