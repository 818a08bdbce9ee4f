"""A version of a job is one line, and says what is missing of it."""

from __future__ import annotations

import msgspec

from ckptd.cli.render.checkpoint_text import checkpoint_lines, shard_lines
from ckptd.cli.render.job_text import newest_lines
from ckptd.control.messages.checkpoints import CheckpointRow
from ckptd.control.messages.jobs import DifferingRow
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.limits import GIB
from ckptd.model.words import Location
from tests.support.control_samples import CHECKPOINT, NEWEST, PLACE

replace = msgspec.structs.replace


def shard(
    index: int, *nodes: str, count: int = 2, version: int = 100, **facts: object
) -> CheckpointRow:
    return replace(
        CHECKPOINT,
        checkpoint=f"llama/shard-{index}-of-{count}",
        version=version,
        size_bytes=GIB,
        nodes=nodes,
        is_complete=bool(nodes),
        **facts,
    )


def test_shards_of_a_version_are_one_line() -> None:
    rows = [
        replace(CHECKPOINT, checkpoint="eval"),
        shard(0, "a", "b", version=101),
        shard(0, "a", "b", held=Location.HERE, places=(replace(PLACE, age_s=59.0),)),
        shard(1, "b", version=101),
        shard(1, "a", "b", "c", "d"),
    ]
    assert checkpoint_lines(rows) == [
        "CHECKPOINT  VERSION  SIZE   UNITS                 AGE  HELD    NODES",
        "eval        100      2 GiB  -                     -    peers   node-b,node-c",
        "llama       101      2 GiB  2/2 shards, 1 copy    -    peers   a,b",
        "llama       100      2 GiB  2/2 shards, 2 copies  59s  1 here  4 nodes",
    ]


def test_a_shard_that_is_missing_or_there_with_two_contents_is_named() -> None:
    rows = [shard(0, "a", count=4), shard(0, "b", count=4, digest="cd" * 32), shard(3, count=4)]
    assert checkpoint_lines(rows)[1:] == [
        "llama       100      2 GiB  1/4 shards  -    in part  a,b",
        "  shards 1-3: nobody has all of them",
        "  shards 0: several contents; see --shards",
    ]


def test_who_placed_a_version_last_is_named() -> None:
    nodes = ("a", "b", "c", "d", "e")
    rows = [shard(0, "a", count=1, placed_by=nodes), shard(0, "b", count=1, version=99)]
    assert checkpoint_lines(rows)[1:] == [
        "llama       100      1 GiB  1/1 shards, 1 copy  -    peers  a",
        "  placed last by a, b, c and 2 more",
        "llama       99       1 GiB  1/1 shards, 1 copy  -    peers  b",
    ]
    placed = tuple(DifferingRow(node=node, version=100 + (node == "b")) for node in nodes)
    assert newest_lines(replace(NEWEST, differing=(), silent=(), placed=placed))[1:] == [
        "  b placed llama@101, which stays there",
        "  a, c, d and 1 more placed llama@100, which stays there",
    ]


def test_two_layouts_of_a_version_are_two_lines() -> None:
    rows = [shard(0, "a", count=1), shard(0, "a", count=2), shard(1, "a", count=2)]
    assert [line.split()[4:6] for line in checkpoint_lines(rows)[1:]] == [
        ["1/1", "shards,"],
        ["2/2", "shards,"],
    ]


def test_each_shard_has_a_line_on_request() -> None:
    rows = [shard(0, "a"), shard(1, "b")]
    assert [line.split()[0] for line in shard_lines(rows)[1:]] == [
        "llama/shard-0-of-2",
        "llama/shard-1-of-2",
    ]


def test_the_newest_version_of_a_job_and_who_goes_another_way() -> None:
    assert newest_lines(NEWEST) == [
        "llama@100: newest that is whole for all 8 shards",
        "  node-b recovers llama@99",
        "  no answer from node-c: not known what they would take",
    ]
    none = replace(NEWEST, version=None, why="100 in 8 shards lacks one: shard 3/8 is missing")
    assert newest_lines(none) == [
        "no version of llama is whole: 100 in 8 shards lacks one: shard 3/8 is missing"
    ]
    assert newest_lines(replace(none, why="")) == ["nobody has shards of llama"]


def test_wide_a_job_needs_first_what_all_its_shards_do_together() -> None:
    first = MinimalSetView(phase="core", units=3, bytes=GIB, is_everything=False, predicted_s=1.5)
    rows = [shard(number, "a", minimal_set=first, critical_bytes=7) for number in range(2)]
    line = checkpoint_lines(rows, is_wide=True)[1]
    assert line.split()[-4:] == ["core", "-", "-", "-"], "what both have alike counts once"
    alone = [shard(0, "a", count=1, minimal_set=first, critical_bytes=7)]
    line = checkpoint_lines(alone, is_wide=True)[1]
    assert line.endswith("core: 3 units, 1 GiB  1.5s  7 B       -")
    everything = replace(first, is_everything=True)
    whole = [replace(row, minimal_set=everything, critical_bytes=0) for row in rows]
    line = checkpoint_lines(whole, is_wide=True)[1]
    assert line.split()[-7:] == ["all", "of", "it", "-", "0", "B", "-"]
    line = checkpoint_lines([rows[0], shard(1, "a")], is_wide=True)[1]
    assert line.split()[-4:] == ["-", "-", "-", "-"]
    assert shard_lines(rows, is_wide=True)[2].split()[-4:] == ["1.5s", "7", "B", "abababababab"]


def test_a_job_whose_shards_are_active_says_so_once() -> None:
    place = replace(PLACE, active_link="/data/llama/current", directory="/data/llama/100")
    rows = [shard(each, "a", held=Location.HERE, places=(place,)) for each in range(2)]
    _, line, *notes = checkpoint_lines(rows)
    assert "  active  " in line
    assert notes == ["  /data/llama/100: active as /data/llama/current"]
