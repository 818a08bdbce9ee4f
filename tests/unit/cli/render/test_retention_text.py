from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.retention_text import collected_lines
from ckptd.limits import GIB
from tests.support.control_samples import COLLECT_RESULT, COLLECTED, STAYS


def test_each_version_has_a_line_that_says_why() -> None:
    assert collected_lines([STAYS, COLLECTED], COLLECT_RESULT) == [
        "VERSION    SIZE            WHY",
        "llama@200  2 GiB  stays    one of the newest 3",
        "llama@100  2 GiB  removed  not among the newest 3",
        "removed 1 version of 2 GiB",
    ]


def test_a_dry_run_says_what_would_be() -> None:
    lines = collected_lines([COLLECTED], replace(COLLECT_RESULT, is_dry_run=True))
    assert lines[1:] == [
        "llama@100  2 GiB  would go  not among the newest 3",
        "would remove 1 version of 2 GiB",
    ]


def test_without_rules_and_without_room_that_is_said() -> None:
    nothing = replace(COLLECT_RESULT, is_on=False, removed=0, freed_bytes=0)
    assert collected_lines([], nothing) == [
        "removed 0 versions of 0 B",
        "No rule of [retention] lets anything go: all stays.",
    ]
    short = replace(COLLECT_RESULT, short_bytes={"main": GIB})
    assert collected_lines([], short)[-1] == (
        "root main: 1 GiB are short of [retention] min_free, and nothing more may go"
    )
