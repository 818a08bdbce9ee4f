import msgspec
import pytest

from ckptd.cli.ctl.observe_verbs import check_lines, event_line, level_line
from ckptd.control.messages.observation import LevelView
from ckptd.model.words import CheckResult
from tests.support.observing import EVENT, FINDING

replace = msgspec.structs.replace


def test_an_event_is_one_line_with_its_id_and_the_facts_it_has() -> None:
    assert event_line(EVENT) == "7 2023-11-14T22:13:20.000000Z info peer.found node=node-b"


def test_what_does_not_print_is_shown_as_an_escape() -> None:
    assert r"why=a\nb\x1b" in event_line(replace(EVENT, facts={"why": "a\nb\x1b"}))
    assert r"\x1b" in check_lines(replace(FINDING, finding="\x1b"))[0]


def test_a_finding_comes_with_its_remedy_unless_all_is_well() -> None:
    assert check_lines(FINDING) == [
        "FAIL  disk: root main: it cannot be written",
        "      → Mend it.",
    ]
    assert len(check_lines(replace(FINDING, verdict=CheckResult.OK))) == 1


@pytest.mark.parametrize(
    ("view", "line"),
    [
        (LevelView(level="info", configured="info"), "info"),
        (LevelView(level="debug", configured="info"), "debug, configured info"),
        (
            LevelView(level="debug", configured="info", left_s=300),
            "debug for 5m00s, configured info",
        ),
    ],
)
def test_the_level_says_what_it_will_be_again(view: LevelView, line: str) -> None:
    assert level_line(view) == line
