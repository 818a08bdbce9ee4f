import msgspec
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.course import is_half_way
from ckptd.cli.demo.demo_checkpoint import (
    CRITICAL,
    DEFERRED,
    SIZE_BYTES_MIN,
    Comparison,
    patterns_with_a_match,
    plan_checkpoint,
)
from ckptd.cli.demo.demo_place import choose_place
from ckptd.cli.demo.demo_report import Findings, Killing, report_lines
from ckptd.control.messages.recovery_results import SourceShare
from ckptd.errors import ExitCode, OutOfSpace
from ckptd.limits import GIB, MIB
from ckptd.model.words import FailureCause, Result, Stage
from tests.support.control_samples import RESULT, VIEW

replace = msgspec.structs.replace

SAME = Comparison(files=213, size_bytes=2 * GIB, differences=())


@pytest.mark.parametrize("size_bytes", [SIZE_BYTES_MIN, GIB, GIB + 1])
def test_the_made_up_checkpoint_has_the_size_that_was_asked_for(size_bytes: int) -> None:
    files = plan_checkpoint(size_bytes)
    sizes = [file.size_bytes for file in files]
    assert sum(sizes) == size_bytes
    assert min(sizes) == 0
    assert len({size for size in sizes if size > size_bytes // 20}) >= 4
    assert [file.path for file in files if file.is_executable] == ["resume.sh"]


def test_the_made_up_checkpoint_has_units_of_every_criticality() -> None:
    paths = [file.path for file in plan_checkpoint(GIB)]
    assert patterns_with_a_match(paths, CRITICAL) == ("*.json", "*config*", "*rng*")
    assert patterns_with_a_match(paths, DEFERRED) == DEFERRED


def test_patterns_without_a_match_are_left_out_for_publishing_refuses_them() -> None:
    assert patterns_with_a_match(["weights.bin"], CRITICAL) == ()
    assert patterns_with_a_match(["a/rng-0"], CRITICAL) == ("*rng*",)


def test_the_first_place_with_room_is_taken() -> None:
    free = {"/tmp": GIB, "/var/tmp": 3 * GIB, "/more": 9 * GIB}
    assert choose_place(free, GIB, copies=2) == ("/var/tmp", GIB)
    assert choose_place(free, GIB // 4, copies=2) == ("/tmp", GIB // 4)


def test_where_room_is_short_the_checkpoint_is_smaller() -> None:
    free = {"/tmp": GIB, "/var/tmp": GIB + 100 * MIB}
    assert choose_place(free, GIB, copies=2) == ("/var/tmp", 434 * MIB)


@pytest.mark.parametrize("free", [{}, {"/tmp": 0}, {"/tmp": 256 * MIB}, {"/tmp": 280 * MIB}])
def test_without_room_the_demonstration_says_how_to_get_some(free: dict[str, int]) -> None:
    with pytest.raises(OutOfSpace, match="TMPDIR=/path ckptctl demo"):
        choose_place(free, GIB, copies=2)


@pytest.mark.parametrize(
    ("verified", "left", "stage", "expected"),
    [
        (49, 51, Stage.TRANSFERRING, False),
        (50, 50, Stage.TRANSFERRING, True),
        (99, 1, Stage.TRANSFERRING, True),
        (100, 0, Stage.TRANSFERRING, False),
        (100, 0, Stage.PLACING, False),
        (0, 0, Stage.SEEKING, False),
    ],
)
def test_a_source_is_killed_in_the_second_half_and_before_the_end(
    verified: int, left: int, stage: Stage, expected: bool
) -> None:
    view = replace(VIEW, bytes_verified=verified, bytes_left=left, stage=stage)
    assert is_half_way(view) is expected


def test_the_report_says_what_came_from_whom_and_who_was_killed() -> None:
    findings = Findings(RESULT, Killing("node-c", 52), SAME)
    assert report_lines(findings) == [
        "",
        "critical units  after 0.3s",
        "complete        after 1.4s, 1.43 GiB/s, every block verified",
        "received from   node-b  1.17 GiB",
        "                node-c  848 MiB, killed when 52% of all was here",
        "wasted          0 B",
        "compared        213 files, 2 GiB: names, sizes, modes and every byte the same",
        "",
        "The checkpoint is back, bit for bit, although a source died half-way.",
    ]
    assert findings.exit_code == ExitCode.DONE


def test_the_report_does_not_pretend_that_a_source_was_killed() -> None:
    lines = report_lines(Findings(RESULT, None, SAME))
    assert "killed when" not in "\n".join(lines)
    assert lines[-1].endswith("before a source could be killed.")


def test_a_source_that_was_killed_before_it_gave_anything_is_named_too() -> None:
    result = replace(RESULT, sources=(SourceShare(node="node-b", bytes=2 * GIB),))
    lines = report_lines(Findings(result, Killing("node-a", 50), SAME))
    assert "received from   node-a  0 B, killed when 50% of all was here" in lines


def test_one_difference_is_enough_to_fail() -> None:
    findings = Findings(RESULT, None, Comparison(2, 10, ("a has other bytes",)))
    assert findings.exit_code == ExitCode.VERIFICATION
    lines = report_lines(findings)
    assert "  a has other bytes" in lines
    assert lines[-1] == "FAILED: what was recovered is not what was published."


def test_of_many_differences_ten_are_shown() -> None:
    differences = tuple(f"{number} is missing" for number in range(12))
    lines = report_lines(Findings(RESULT, None, Comparison(2, 10, differences)))
    assert [line for line in lines if line.startswith("  ")][-2:] == ["  9 is missing", "  …"]


def test_a_recovery_that_failed_is_not_compared_and_says_why() -> None:
    result = replace(
        RESULT, result=Result.FAILED, cause=FailureCause.CRITICAL_MISSING, message="nobody has it"
    )
    findings = Findings(result, Killing("node-a", 50), None)
    assert report_lines(findings) == ["", "The recovery failed: nobody has it."]
    assert findings.exit_code == ExitCode.MISSING


def test_help_fits_80_columns_and_gives_examples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        ckptctl(["demo", "--help"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\n  ckptctl demo " in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--size", "1MiB"], "ckptctl: --size: is less than 16 MiB"),
        (["--size", "much"], "ckptctl: size 'much': is not a number and a unit"),
        (["/", "--size", "1GiB"], "ckptctl: --size: says how much to make up"),
        (["/", "--job"], "ckptctl: --job: makes up what is lost"),
        (["--job", "--size", "1MiB"], "ckptctl: --size: is less than 16 MiB"),
        (["--fleet", "--size", "1MiB"], "ckptctl: --size: is less than 16 MiB"),
        (["/", "--fleet"], "ckptctl: --fleet: makes up what is lost"),
        (["--job", "--fleet"], "ckptctl: --fleet: is another demonstration"),
        (["--picture", "x.svg"], "ckptctl: --picture: is of --fleet only"),
    ],
)
def test_what_makes_no_sense_ends_with_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ckptctl(["demo", *argv]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)


def test_where_no_picture_can_be_written_no_fleet_is_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["demo", "--fleet", "--picture", "/nonexistent/fleet.svg"]
    assert ckptctl(argv) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ckptctl: directory /nonexistent: cannot be written to\n")
