"""``ckptctl`` as people run it, with a stand-in daemon behind a real server."""

import contextlib
import fcntl
import io
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl.arguments import VERBS, parse
from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.render.live import follow_recovery
from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.prioritized import NeedRequest, PrioritizeRequest
from ckptd.control.messages.recovery_results import RecoveryResult, WatchEvent
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.verifications import VerifyRequest, VerifyResult
from ckptd.errors import (
    CkptdError,
    ExitCode,
    NotFound,
    NotPermitted,
    VerificationFailed,
)
from ckptd.model.words import FailureCause, Result, Stage
from tests.support.control import Hold, StandInDaemon, serving
from tests.support.control_samples import (
    BAD_UNIT,
    NEED_PROGRESS,
    PROGRESS,
    PUBLISH_PROGRESS,
    RESULT,
    VERIFY_PROGRESS,
    VERIFY_RESULT,
    VIEW,
)

pytestmark = pytest.mark.integration

replace = msgspec.structs.replace


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ckptd.sock")


# What decides how a command prints is the test's to set.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTHONUNBUFFERED", "TERM"}
}


def start(path: str, *argv: str, **options: object) -> subprocess.Popen[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "ckptd.cli.ctl.command", "--socket", path, *argv],
        **{**streams, "env": ENVIRONMENT, **options},
    )


def run(path: str, *argv: str) -> tuple[int, str, str]:
    with start(path, *argv) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({}, ExitCode.DONE),
        ({"result": Result.PARTIAL, "missing_units": ("opt/a",)}, ExitCode.PARTIAL),
        ({"result": Result.FAILED, "cause": FailureCause.STORE}, ExitCode.FAILED),
        ({"result": Result.CANCELLED}, ExitCode.FAILED),
        (
            {"result": Result.FAILED, "cause": FailureCause.CRITICAL_MISSING},
            ExitCode.MISSING,
        ),
        ({"result": Result.FAILED, "cause": FailureCause.VERIFICATION}, ExitCode.VERIFICATION),
    ],
)
def test_a_recovery_that_was_waited_for_ends_the_command_as_it_ended(
    path: str, ended: dict[str, object], code: ExitCode
) -> None:
    result = replace(RESULT, message="why", **ended)
    with serving(StandInDaemon(watching=[PROGRESS, result]), path):
        returned, out, err = run(path, "recover", "llama/rank-0@100", "--wait")
    assert returned == code
    assert out.startswith("recovered ") if code in {0, 3} else out == ""
    assert err.splitlines()[:2] == [
        "ckptctl: recovery 01J9QX of llama/rank-0@100 → /data/llama/rank-0/100",
        "llama/rank-0@100: transferring, 37/120 units, 1.5 GiB of 2 GiB left, 1.5 GiB/s, ETA 1.0s",
    ]
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (NotFound("checkpoint a", "is held by nobody"), 1),
        (NotPermitted("recover", "needs more rights"), 6),
        (VerificationFailed("manifest", "is not what was asked for"), 8),
    ],
)
def test_a_refused_recovery_ends_the_command_with_the_code_of_the_error(
    path: str, refusal: CkptdError, code: int
) -> None:
    with serving(StandInDaemon(refusal=refusal), path):
        assert run(path, "recover", "a") == (code, "", f"ckptctl: {refusal}\n")


MATCHING = [
    replace(VIEW, recovery="r-1", checkpoint="llama/a", stage=Stage.COMPLETE),
    replace(VIEW, recovery="r-2", checkpoint="llama/b", stage=Stage.COMPLETE),
]


def test_one_checkpoint_that_a_pattern_matches_is_one_recovery(path: str) -> None:
    with serving(StandInDaemon(views=MATCHING[:1], watching=[RESULT]), path):
        _, _, err = run(path, "recover", "llama/*@100", "--wait")
    assert err.splitlines()[0] == "ckptctl: 1 recovery of llama/*@100"


def test_a_pattern_is_one_command_with_one_report(path: str) -> None:
    with serving(StandInDaemon(views=MATCHING, watching=[RESULT]), path) as daemon:
        returned, out, err = run(path, "recover", "llama/*@100", "--wait")
        listed = run(path, "recover", "llama/*", "-o", "json")
    assert returned == ExitCode.DONE
    assert [line for line in out.splitlines() if line.startswith("recovered ")] == (
        ["recovered llama/rank-0@100: 2 GiB in 1.4s (1.43 GiB/s),"] * 2
    )
    assert err.splitlines() == [
        "ckptctl: 2 recoveries of llama/*@100",
        "2 of 2 ended, 25%, 3 GiB left, 3 GiB/s",
    ]
    assert daemon.watched == ["r-1", "r-2"]
    assert [view["recovery"] for view in json.loads(listed[1])] == ["r-1", "r-2"]
    (action, request), _ = daemon.calls
    assert (action, request) == (
        "recover_matching",
        RecoverRequest(checkpoint="llama/*", version=100, patience_s=300.0),
    )


def test_a_pattern_ends_the_command_as_the_worst_recovery_ended(path: str) -> None:
    failed = replace(RESULT, result=Result.FAILED, cause=FailureCause.VERIFICATION, message="why")
    with serving(StandInDaemon(views=MATCHING, watching=[failed]), path):
        returned, out, err = run(path, "recover", "llama/*", "--wait", "-o", "json")
    assert returned == ExitCode.VERIFICATION
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["result"] * 2
    assert err.count("llama/rank-0@100 failed: why") == 2


def test_a_timeout_ends_the_command_and_none_of_several_recoveries(path: str) -> None:
    views = [MATCHING[0], replace(MATCHING[1], stage=Stage.TRANSFERRING)]
    with serving(StandInDaemon(views=views, watching=[RESULT]), path):
        returned, _, err = run(path, "recover", "llama/*", "--wait", "--timeout", "3s")
    assert returned == ExitCode.TIMED_OUT
    assert err.splitlines()[-1] == (
        "ckptctl: 1 of them are not done within 3s; "
        f"they go on; see them with: ckptctl --socket {path} recoveries"
    )


def test_nobody_there_ends_the_command_with_7(path: str) -> None:
    returned, out, err = run(path, "recover", "a", "--wait", "-o", "json")
    assert (returned, out) == (7, "")
    assert err.startswith(f"ckptctl: no daemon answers at {path}: No such file")


def test_a_timeout_ends_the_command_and_not_the_recovery(path: str) -> None:
    daemon = StandInDaemon(watching=[PROGRESS, Hold()])
    with serving(daemon, path):
        returned, out, err = run(path, "recover", "a", "--wait", "--timeout", "0.2s")
    assert (returned, out) == (5, "")
    assert err.splitlines()[-1] == (
        "ckptctl: recovery 01J9QX is not done within 0.2s; "
        f"it goes on; watch it with: ckptctl --socket {path} watch 01J9QX"
    )
    assert [action for action, _ in daemon.calls] == ["recover"]


def test_a_timeout_that_is_over_at_once_is_a_timeout(path: str) -> None:
    with serving(StandInDaemon(), path):
        assert ckptctl(["--socket", path, "recover", "a", "--wait", "--timeout", "0s"]) == 5


def test_a_timeout_holds_while_the_daemon_is_away(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.cli.render.live._RECONNECT_INTERVAL_S", 0.05)
    with pytest.raises(TimeoutError):
        follow_recovery(ControlClient(path), "01J9QX", as_json=True, timeout_s=0.2)


def test_ctrl_c_ends_the_command_and_not_the_recovery(path: str) -> None:
    daemon = StandInDaemon(watching=[PROGRESS, Hold()])
    with serving(daemon, path), start(path, "recover", "a", "--wait", "-o", "json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "progress"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        "ckptctl: interrupted, but not recovery 01J9QX: "
        f"it goes on; watch it with: ckptctl --socket {path} watch 01J9QX"
    )
    assert [action for action, _ in daemon.calls] == ["recover"]


def test_ctrl_c_stops_a_publishing(path: str) -> None:
    daemon = StandInDaemon(publishing=[PUBLISH_PROGRESS, Hold()])
    argv = ["publish", ".", "--checkpoint", "a", "--version", "3", "-o", "json"]
    with serving(daemon, path), start(path, *argv) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "progress"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert daemon.publishing_stopped.wait(60)
    assert (process.returncode, err) == (130, "ckptctl: interrupted; nothing was published\n")


def test_a_wait_outlives_a_restart_of_the_daemon(path: str) -> None:
    with contextlib.ExitStack() as living:
        living.enter_context(serving(StandInDaemon(watching=[PROGRESS, Hold()]), path))
        with start(path, "recover", "a", "--wait", "-o", "json") as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "progress"
            living.close()
            with serving(StandInDaemon(views=[VIEW], watching=[RESULT]), path):
                out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["type"]) == (0, "result")
    assert "it stopped before the recovery ended" in err.splitlines()[1]
    assert err.endswith("Trying again for 30s.\n")


def test_a_daemon_that_stays_away_ends_a_wait_with_7(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ckptd.cli.render.live.RECONNECT_TIMEOUT_S", 0.0)
    with serving(StandInDaemon(watching=[PROGRESS]), path):
        assert ckptctl(["--socket", path, "recover", "a", "--wait"]) == ExitCode.UNREACHABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"ckptctl: no daemon answers at {path}: it stopped")


def test_a_daemon_that_is_lost_again_and_again_is_said_each_time(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class LostTwice(StandInDaemon):
        async def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
            async for event in super().watch(recovery):
                yield event
            if len(self.watched) > 2:
                yield RESULT

    monkeypatch.setattr("ckptd.cli.render.live._RECONNECT_INTERVAL_S", 0.05)
    with serving(LostTwice(watching=[PROGRESS]), path):
        assert ckptctl(["--socket", path, "recover", "a", "--wait"]) == 0
    assert capsys.readouterr().err.count("Trying again for 30s.") == 2


def test_json_is_one_event_a_line_and_exactly_one_last_result(path: str) -> None:
    with serving(StandInDaemon(watching=[PROGRESS, PROGRESS, RESULT]), path):
        returned, out, _ = run(path, "recover", "a", "--wait", "-o", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert returned == 0
    assert [event["type"] for event in events] == ["progress", "progress", "result"]
    assert msgspec.convert(events[-1], RecoveryResult) == RESULT


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({}, ExitCode.DONE),
        ({"result": Result.FAILED, "cause": FailureCause.CRITICAL_MISSING}, ExitCode.MISSING),
    ],
)
def test_whoever_stops_reading_is_told_how_it_ended(
    path: str, ended: dict[str, object], code: ExitCode
) -> None:
    daemon = StandInDaemon(watching=[*[PROGRESS] * 2000, replace(RESULT, message="why", **ended)])
    with serving(daemon, path), start(path, "recover", "a", "--wait", "-o", "json") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(30) == code
    assert json.loads(first)["type"] == "progress"
    assert err.startswith("ckptctl: recovery 01J9QX of a → /data/llama/rank-0/100\n")
    assert "Error" not in err


def test_what_is_only_shown_ends_with_its_reader(path: str) -> None:
    daemon = StandInDaemon(watching=[*[PROGRESS] * 2000, Hold()], views=[VIEW])
    with serving(daemon, path), start(path, "watch", "-o", "json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""


FAILED = replace(RESULT, result=Result.FAILED, cause=FailureCause.VERIFICATION, message="why")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("result", "code"), [(RESULT, 0), (FAILED, ExitCode.VERIFICATION)])
def test_a_stream_that_is_closed_changes_nothing(
    path: str, closed: str, result: RecoveryResult, code: int
) -> None:
    command = f"{sys.executable} -m ckptd.cli.ctl.command --socket {path} recover a --wait"
    with serving(StandInDaemon(watching=[PROGRESS, result]), path):
        done = subprocess.run(
            ["bash", "-c", f"{command} {closed}"],
            capture_output=True,
            env=ENVIRONMENT,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == code
    assert "Error" not in done.stderr


def test_output_that_cannot_be_written_is_said_and_no_success(path: str) -> None:
    with (
        open("/dev/full", "w") as full,
        serving(StandInDaemon(watching=[PROGRESS, RESULT]), path),
        start(path, "recover", "a", "--wait", stdout=full) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.FAILED
    assert err.splitlines()[-1] == (
        "ckptctl: the output could not be written: No space left on device"
    )


def test_a_working_directory_that_is_gone_is_named(path: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -P -m ckptd.cli.ctl.command --socket {path} publish . --version 1"
    (tmp_path / "gone").mkdir()
    with serving(StandInDaemon(), path):
        done = subprocess.run(
            ["bash", "-c", f"rmdir $PWD && {command} --checkpoint a"],
            capture_output=True,
            cwd=tmp_path / "gone",
            env=ENVIRONMENT,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == ExitCode.USAGE
    assert "the current directory is gone" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], VerifyRequest()),
        (["llama/rank-0"], VerifyRequest(checkpoint="llama/rank-0")),
        (["llama/rank-0@100"], VerifyRequest(checkpoint="llama/rank-0", version=100)),
    ],
)
def test_what_is_wrong_is_listed_and_ends_a_verification_with_8(
    path: str,
    asked: list[str],
    expected: VerifyRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(StandInDaemon(), path) as daemon:
        assert ckptctl(["--socket", path, "verify", *asked]) == ExitCode.VERIFICATION
        assert daemon.calls == [("verify", expected)]
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "llama/rank-0@100 in /data/llama/rank-0/100"
    assert second == f"  optimizer/state.bin: {BAD_UNIT.why}"
    assert third == (
        "verified 12 units in 1 directory, 2 GiB read in 0.7s: "
        "1 not what was published, and not served"
    )


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (replace(VERIFY_RESULT, changed_units=0), ExitCode.DONE),
        (replace(VERIFY_RESULT, changed_units=0, unread_units=2), ExitCode.VERIFICATION),
    ],
)
def test_a_verification_ends_with_0_only_if_everything_was_read_and_is_right(
    path: str, result: VerifyResult, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StandInDaemon(verifying=[VERIFY_PROGRESS, result]), path):
        assert ckptctl(["--socket", path, "verify", "-o", "json"]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["progress", "result"]


@pytest.mark.parametrize(
    ("argv", "first_line"),
    [
        (["status"], "node         node-a, up 3h05m, ckptd 0.1.0"),
        (["checkpoints"], "CHECKPOINT    VERSION  SIZE   UNITS  AGE  HELD   NODES"),
        (["peers"], "NODE    ADDRESS        STATE  VERSIONS  RATE       ERROR"),
        (["recoveries"], "RECOVERY  CHECKPOINT        STAGE         DONE  LEFT     ETA"),
        (["recover", "a"], "01J9QX → /data/llama/rank-0/100"),
        (["pause", "01J"], "paused 01J9QX, recovery of llama/rank-0@100"),
        (["resume", "01J"], "resumed 01J9QX, recovery of llama/rank-0@100"),
        (["cancel", "01J9QX"], "cancelled 01J9QX, recovery of llama/rank-0@100"),
        (["watch"], "recovered llama/rank-0@100: 2 GiB in 1.4s (1.43 GiB/s),"),
        (["publish", ".", "--checkpoint", "a", "--version", "3"], "published llama/rank-0@100: "),
        (["activate", "a@3"], "llama/rank-0@100 is active: /data/llama/rank-0/current → /data/"),
        (["withdraw", "a@3"], "withdrew llama/rank-0@100 in /data/llama/rank-0/100\n"),
        (["forget", "a", "--dry-run"], "would forget llama/rank-0@100 in /data/llama/rank-0/100\n"),
        (
            ["remove", "a@3"],
            "removed llama/rank-0@100 from /data/llama/rank-0/100: 12 files, 2 GiB\n",
        ),
        (["version"], "ckptctl 0.1.0"),
    ],
)
def test_each_command_prints_a_table_or_one_line_of_json_a_message(
    path: str, argv: list[str], first_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StandInDaemon(views=[VIEW]), path):
        assert ckptctl(["--socket", path, *argv]) == ExitCode.DONE
        table, _ = capsys.readouterr()
    with serving(StandInDaemon(views=[VIEW]), path):
        assert ckptctl(["--socket", path, *argv, "-o", "json"]) == ExitCode.DONE
        lines = capsys.readouterr().out.splitlines()
    assert table.startswith(first_line)
    assert [type(json.loads(line)) in {dict, list} for line in lines] == [True] * len(lines)
    assert len(lines) == (2 if argv[0] in {"watch", "publish", "remove"} else 1)


def test_lists_that_are_empty_are_said_on_stderr_and_are_empty_in_json(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StandInDaemon(), path):
        assert ckptctl(["--socket", path, "recoveries"]) == ExitCode.DONE
        assert capsys.readouterr() == ("", "ckptctl: no recoveries\n")
        assert ckptctl(["--socket", path, "recoveries", "-o", "json"]) == ExitCode.DONE
        assert capsys.readouterr() == ("[]\n", "")
        assert ckptctl(["--socket", path, "watch"]) == ExitCode.FAILED
        assert capsys.readouterr().err.startswith("ckptctl: recoveries: there are none.")


@pytest.mark.parametrize("verb", [["pause"], ["resume"], ["cancel"], ["prioritize", "*"]])
def test_the_only_recovery_under_way_need_not_be_named(
    path: str, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = replace(VIEW, recovery="01J9ZZ", stage=Stage.COMPLETE)
    with serving(StandInDaemon(views=[ended, VIEW]), path):
        assert ckptctl(["--socket", path, *verb]) == ExitCode.DONE
    with serving(StandInDaemon(views=[ended]), path):
        assert ckptctl(["--socket", path, *verb]) == ExitCode.FAILED
    assert "there is none under way" in capsys.readouterr().err
    daemon = StandInDaemon(views=[VIEW, ended, replace(VIEW, recovery="01J8")])
    with serving(daemon, path):
        assert ckptctl(["--socket", path, *verb]) == ExitCode.USAGE
    assert "01J9QX (llama/rank-0@100), 01J8 (" in capsys.readouterr().err


def test_watch_takes_the_newest_that_has_not_ended(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = replace(VIEW, recovery="01J9ZZ", stage=Stage.COMPLETE)
    watched = replace(RESULT, result=Result.CANCELLED)
    daemon = StandInDaemon(views=[ended, VIEW, ended], watching=[watched])
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "watch", "-o", "json"]) == ExitCode.FAILED
    assert daemon.watched == ["01J9QX"]
    out, err = capsys.readouterr()
    assert json.loads(out)["result"] == "cancelled"
    assert err == "ckptctl: recovery 01J9QX of llama/rank-0@100 cancelled\n"


@pytest.mark.parametrize(
    ("typed", "directory", "version"),
    [
        ("run/latest", "run/checkpoint-12", 12),
        ("run/last.ckpt", "run/last.ckpt", 1000),
        ("link/epoch=3-step=1000.ckpt", "run/epoch=3-step=1000.ckpt", 1000),
        ("run/checkpoint-12", "run/checkpoint-12", 12),
    ],
)
def test_a_version_is_taken_from_the_name_of_what_is_published(
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    directory: str,
    version: int,
) -> None:
    (tmp_path / "run/checkpoint-12").mkdir(parents=True)
    (tmp_path / "run/epoch=3-step=1000.ckpt").touch()
    (tmp_path / "run/latest").symlink_to("checkpoint-12")
    (tmp_path / "run/last.ckpt").symlink_to("epoch=3-step=1000.ckpt")
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    daemon = StandInDaemon()
    argv = ["publish", typed, "--checkpoint", "a", "--version-from", r"(?:step=|checkpoint-)(\d+)"]
    with serving(daemon, path):
        assert ckptctl(["--socket", path, *argv]) == ExitCode.DONE
    real = os.path.realpath(tmp_path)
    expected = PublishRequest(
        directory=f"{real}/{directory}", checkpoint="a", version=version, passes_files=True
    )
    assert daemon.calls == [("publish", expected)]


def test_directories_reach_the_daemon_absolute_and_resolved(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    daemon = StandInDaemon()
    argv = ["publish", "link", "--checkpoint", "a", "--version", "3", "--critical", "*.json"]
    with serving(daemon, path):
        assert ckptctl(["--socket", path, *argv]) == ExitCode.DONE
        recover = ["recover", "a@3", "--to", "new", "--patience", "1m"]
        assert ckptctl(["--socket", path, *recover]) == ExitCode.DONE
    real = os.path.realpath(tmp_path)
    assert daemon.calls == [
        (
            "publish",
            PublishRequest(
                directory=f"{real}/real",
                checkpoint="a",
                version=3,
                critical=("*.json",),
                passes_files=True,
            ),
        ),
        (
            "recover",
            RecoverRequest(
                checkpoint="a",
                version=3,
                to=f"{real}/new",
                patience_s=60.0,
                is_name_awaited=True,
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("typed", "patience_s", "is_name_awaited", "allow_partial"),
    [
        ([], 300.0, False, False),
        (["--patience", "2h"], 7200.0, True, False),
        (["--patience", "forever"], None, True, False),
        (["--patience", "none", "--allow-partial"], None, True, True),
    ],
)
def test_what_nobody_has_is_waited_for_five_minutes_unless_somebody_says_so(
    path: str,
    typed: list[str],
    patience_s: float | None,
    is_name_awaited: bool,
    allow_partial: bool,
) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "recover", "a@3", *typed]) == ExitCode.DONE
    ((_, request),) = daemon.calls
    assert isinstance(request, RecoverRequest)
    assert (request.patience_s, request.is_name_awaited, request.allow_partial) == (
        patience_s,
        is_name_awaited,
        allow_partial,
    )


def test_names_from_peers_cannot_move_the_cursor(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = replace(VIEW, waiting_for="\x1b[2Jgone\n", missing_blocks=1, missing_units=("\x9b1m",))
    result = replace(RESULT, result=Result.FAILED, message="\x1b[31m", missing_units=("\x07",))
    with serving(StandInDaemon(watching=[replace(PROGRESS, view=evil), result]), path):
        for output in ("table", "json"):
            argv = ["--socket", path, "recover", "a", "--wait", "-o", output]
            assert ckptctl(argv) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert "gone" in err


# ckptctl at a terminal.


def run_at_terminal(path: str, *argv: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run with all three streams on a pseudo-terminal of 80 columns; return what it showed."""
    control, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with start(
        path,
        *argv,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | (env or {}),
    ) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError), open(control, "rb", buffering=0) as file:
            while chunk := file.read(65536):  # EIO once the other end is closed
                shown += chunk
    return process.returncode, shown.decode()


def test_a_terminal_shows_a_recovery_in_place_and_keeps_the_result(path: str) -> None:
    moved = replace(PROGRESS, view=replace(VIEW, units_done=99))
    with serving(StandInDaemon(watching=[PROGRESS, moved, RESULT]), path):
        returned, shown = run_at_terminal(path, "recover", "a", "--wait")
    assert returned == 0
    assert "37/120 units" in shown
    assert "99/120 units" in shown
    assert "node-b  active       900 MiB/s  300 MiB  32 MiB" in shown
    assert "\x1b[2K" in shown  # lines are taken away again
    kept = shown.rpartition("\x1b[2K")[2]
    assert "node-b  active" not in kept
    assert "recovered llama/rank-0@100: 2 GiB in 1.4s (1.43 GiB/s),\r\n" in kept
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert max(len(line) for line in re.split(r"[\r\n]+", text)) <= 80


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_escapes_gets_lines(path: str, env: dict[str, str]) -> None:
    with serving(StandInDaemon(), path):
        returned, shown = run_at_terminal(path, "recover", "a", "--wait", env=env)
    assert returned == 0
    assert "\x1b" not in shown
    assert "llama/rank-0@100: transferring, 37/120 units" in shown


def test_a_terminal_shows_a_publishing_in_place(path: str) -> None:
    argv = ["publish", ".", "--checkpoint", "a", "--version", "3"]
    with serving(StandInDaemon(), path):
        returned, shown = run_at_terminal(path, *argv)
    assert returned == 0
    assert "3/12 files, 512 MiB of 2 GiB" in shown
    assert "published llama/rank-0@100: 2 GiB, 12 units in 0.7s\r\n" in shown


def test_a_table_at_a_terminal_is_cut_to_its_width(path: str) -> None:
    wide = replace(VIEW, checkpoint="x" * 200)
    with serving(StandInDaemon(views=[wide]), path):
        _, shown = run_at_terminal(path, "recoveries")
        _, out, _ = run(path, "recoveries")
    assert max(map(len, shown.splitlines())) == 80
    assert f"{'x' * 200}@100" in out


# What the help shows.


def shown_examples() -> list[str]:
    """Every command in the help of a verb that asks a daemon, as somebody would paste it."""
    found: list[str] = []
    for verb in VERBS.values():
        text = re.sub(r"\\\n *", "", help_of(verb.name))
        shown = r"^  (?:file=\$\()?(ckptctl (?:'[^'\n]*'|[^')|\n])*)"
        found += re.findall(shown, text, re.MULTILINE)
    return found


def help_of(verb: str) -> str:
    shown = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
        parse([verb, "--help"])
    return shown.getvalue() if not VERBS[verb].is_offline else ""


@pytest.mark.parametrize("example", shown_examples())
def test_an_example_can_be_pasted(
    path: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = shlex.split(example.partition(" > ")[0], comments=True)
    daemon = StandInDaemon(views=[replace(VIEW, stage=Stage.TRANSFERRING)])
    daemon.ends_when_seen = True
    with serving(daemon, path):
        code = ckptctl([*words, "--socket", path])
    assert code != ExitCode.USAGE, capsys.readouterr().err


def test_examples_are_found() -> None:
    found = shown_examples()
    assert "ckptctl pause -o json" in found
    assert sum("--critical" in each for each in found) > 0
    assert len(found) > len(VERBS)


# Other programs.


def test_a_pipe_into_head_ends_as_the_recovery(path: str) -> None:
    with serving(StandInDaemon(watching=[*[PROGRESS] * 2000, RESULT]), path):
        command = (
            f"{sys.executable} -m ckptd.cli.ctl.command --socket {path} recover a --wait -o json"
        )
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command} | head -1"],
            capture_output=True,
            env=ENVIRONMENT,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)["type"] == "progress"
    assert "Error" not in done.stderr


# Units that go first


def test_a_needed_unit_is_printed_on_standard_output_and_progress_is_not(path: str) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        returned, out, err = run(path, "need", "./model//a")
    assert (returned, out) == (0, "/data/.ckptd/01J9QX/model/a\n")
    assert err == "model/a: 8 MiB of 32 MiB here\n"
    assert daemon.calls == [("need", NeedRequest(path="model/a"))]


def test_who_does_not_wait_is_told_that_the_unit_goes_first(path: str) -> None:
    with serving(StandInDaemon(needing=[NEED_PROGRESS, Hold()]), path):
        assert run(path, "need", "model/a", "--no-wait") == (
            0,
            "model/a: 8 MiB of 32 MiB here\n",
            "",
        )


def test_a_timeout_ends_the_waiting_for_a_unit(path: str) -> None:
    with serving(StandInDaemon(needing=[NEED_PROGRESS, Hold()]), path):
        returned, out, err = run(path, "need", "model/a", "--timeout", "0.2s")
    assert (returned, out) == (5, "")
    assert "model/a was not here within 0.2s; it still goes first" in err


def test_a_unit_that_does_not_come_ends_the_command_with_the_error(path: str) -> None:
    refusal = NotFound("unit 'model/a'", "did not come")
    with serving(StandInDaemon(needing=[NEED_PROGRESS, refusal]), path):
        returned, out, err = run(path, "need", "model/a", "-o", "json")
    assert (returned, json.loads(out)["type"]) == (1, "progress")
    assert err == f"ckptctl: {refusal}\n"


def test_units_are_prioritized_by_a_beginning_of_the_id(path: str) -> None:
    daemon = StandInDaemon(views=[VIEW])
    with serving(daemon, path):
        returned, out, err = run(path, "prioritize", "01J", "model/*")
    assert (returned, err) == (0, "")
    assert out == "first now in 01J9QX: 3 units, 48 MiB; already here: 1 units, 16 MiB\n"
    assert daemon.calls == [("prioritize", ("01J9QX", PrioritizeRequest(pattern="model/*")))]


def test_what_somebody_changed_is_overwritten_on_demand(path: str) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "recover", "a@3", "--overwrite"]) == ExitCode.DONE
    request = RecoverRequest(checkpoint="a", version=3, patience_s=300.0, overwrite=True)
    assert daemon.calls == [("recover", request)]


def test_a_recovery_begins_in_the_background_if_told_so(path: str) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "recover", "a@3", "--background"]) == ExitCode.DONE
    assert daemon.calls == [
        ("recover", RecoverRequest(checkpoint="a", version=3, patience_s=300.0, is_background=True))
    ]
