import msgspec
import pytest

from ckptd.cli.render.explanation_text import (
    HAPPENINGS_SHOWN_MAX,
    PEERS_SHOWN_MAX,
    explanation_lines,
)
from ckptd.cli.render.text import picture_of
from ckptd.control.messages.explanations import ExplanationView
from ckptd.model.words import Stage
from tests.support.control_samples import EXPLANATION, VIEW

replace = msgspec.structs.replace

LONG = replace(
    EXPLANATION,
    stage=Stage.FAILED,
    waiting_for="a peer that has the missing 8 MiB",
    message="nobody has 8 MiB of critical units",
    passed_over=EXPLANATION.passed_over * 5,
    peers=EXPLANATION.peers * 50,
    story=tuple(replace(EXPLANATION.story[0], after_s=float(second)) for second in range(200)),
    counts={f"kind_{number}": number for number in range(16)},
)


def test_an_explanation_says_why_who_and_what() -> None:
    assert explanation_lines(EXPLANATION, is_all=False) == [
        "recovery     01J9QX of llama/rank-0@100, transferring",
        "version      newest of which every block is reachable",
        "passed over  90 (abababababab): older",
        "limiter      network",
        "wasted       corrupt 2 MiB, hedge 1 MiB",
        "happened     2 lane_late, 1 version_chosen",
        "PEER    WHY       SHARE",
        "node-b  used      59%    gave 300 MiB, delivers 900 MiB/s",
        "node-d  not_held  0%     does not hold the version",
        "AFTER  WHAT HAPPENED",
        "0.2s   node-c was silent for 620ms, allowed 500ms: cut off, not asked for 200ms",
    ]


def test_an_explanation_fits_a_screen_and_says_what_was_cut() -> None:
    lines = explanation_lines(LONG, is_all=False, width=80)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert f"… {100 - PEERS_SHOWN_MAX} more peers; see --all" in lines
    before = 200 - HAPPENINGS_SHOWN_MAX
    assert lines[-1] == f"… {before} more things that happened before; see --all"
    assert lines[-2].startswith("3m19s  "), "the last ones are shown"


def test_everything_is_shown_on_demand() -> None:
    text = "\n".join(explanation_lines(LONG, is_all=True))
    assert "--all" not in text
    assert text.count("node-c was silent") == 200


def test_a_story_that_is_not_kept_is_not_called_empty() -> None:
    old = replace(EXPLANATION, story=(), why="", is_story_kept=False)
    lines = explanation_lines(old, is_all=False)
    assert lines[-1] == "What happened is not kept any more, only how often."


@pytest.mark.parametrize("field", ["why", "waiting_for", "message"])
def test_what_peers_and_disks_say_moves_no_cursor(field: str) -> None:
    evil: ExplanationView = msgspec.convert(
        {**msgspec.to_builtins(EXPLANATION), field: "\x1b[2J"}, ExplanationView
    )
    assert "\x1b" not in "\n".join(explanation_lines(evil, is_all=False))


def test_what_is_missing_is_named_on_lines_that_fit() -> None:
    missing = tuple(f"model-{number:05}-of-00020.safetensors" for number in range(3))
    lines = explanation_lines(replace(EXPLANATION, missing_units=missing), is_all=False)
    [first] = [line for line in lines if line.startswith("missing ")]
    assert first.split()[1] == "model-00000-of-00020.safetensors,"
    assert all(name in "\n".join(lines) for name in missing)
    assert max(map(len, lines[: lines.index(first) + 2])) <= 80


@pytest.mark.parametrize(
    ("is_paused", "is_background"), [(True, False), (False, True), (True, True)]
)
def test_an_explanation_names_the_stage_as_status_does(
    is_paused: bool, is_background: bool
) -> None:
    known = replace(EXPLANATION, is_paused=is_paused, is_background=is_background)
    view = replace(VIEW, is_paused=is_paused, is_background=is_background)
    stage = picture_of(view).stage
    assert explanation_lines(known, is_all=False)[0].endswith(f", {stage}")


def test_a_limit_that_somebody_set_is_called_that() -> None:
    limited = replace(EXPLANATION, bottleneck="shaper")
    assert "limiter      a limit that was set" in explanation_lines(limited, is_all=False)
    assert picture_of(replace(VIEW, bottleneck="shaper")).lines[0].endswith("a limit that was set")


def test_an_explanation_says_whose_blocks_come_coded_and_why() -> None:
    used, idle = EXPLANATION.peers
    why = "not coded: 18 Gbit/s is faster than coding"
    peers = (
        replace(used, coding=why),
        replace(used, path="node-c", coding=why),
        replace(used, path="node-e", coding="coded: coded came 3.2 times as fast"),
        idle,
    )
    lines = explanation_lines(replace(EXPLANATION, peers=peers), is_all=False)
    begin = lines.index("BLOCKS OF       COME")
    assert lines[begin + 1 : begin + 4] == [
        f"node-b, node-c  {why}",
        "node-e          coded: coded came 3.2 times as fast",
        "AFTER  WHAT HAPPENED",
    ]


def test_an_explanation_fits_a_screen_whatever_is_said_of_coding() -> None:
    peers = tuple(
        replace(peer, coding=f"not coded: {number} Gbit/s is faster than coding")
        for number, peer in enumerate(LONG.peers)
    )
    known = replace(LONG, peers=peers)
    lines = explanation_lines(known, is_all=False, width=80)
    assert len(lines) <= 30
    assert f"… {PEERS_SHOWN_MAX - 2} more that differ; see --all" in lines
    assert lines[-2].startswith("3m19s  "), "the last ones are shown"
    assert "\n".join(explanation_lines(known, is_all=True)).count("not coded: ") == len(peers)
