"""The commands that watch a daemon, with a stand-in behind a real server."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.copies import CopiesRequest
from ckptd.control.messages.observation import FollowQuery, LevelRequest
from ckptd.errors import ExitCode, UsageError
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import COPIES
from tests.support.observing import DRAINING, EVENT, FINDING

pytestmark = pytest.mark.integration


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ckptd.sock")


@pytest.fixture
def daemon() -> StandInDaemon:
    return StandInDaemon()


def test_a_daemon_that_stops_is_not_ready_and_says_why(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "health"]) == 0
        assert capsys.readouterr().out == "ready\npeers: no peer answers\n"
        daemon.observing.answer = DRAINING
        assert ckptctl(["--socket", path, "health"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ckptctl: not ready: stopping\n")


def test_an_examination_that_finds_something_ends_with_1(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "doctor"]) == 0
        daemon.observing.findings = (FINDING,)
        capsys.readouterr()
        assert ckptctl(["--socket", path, "doctor", "-o", "json"]) == 1
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["verdict"] for row in rows] == ["fail"]
    assert last == {"type": "result", "ok": 0, "warn": 0, "fail": 1}


def test_what_is_gone_is_said_on_stderr_or_in_the_stream(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "events"]) == 0
        out, err = capsys.readouterr()
        assert (out.split()[0], err) == (str(EVENT.id), "ckptctl: 6 are gone\n")
        assert ckptctl(["--socket", path, "events", "--since", "2", "-o", "json"]) == 0
        lost, event = map(json.loads, capsys.readouterr().out.splitlines())
        assert lost == {"type": "lost", "count": 4}
        assert (event["type"], event["id"]) == ("event", 7)


def test_following_ends_with_7_when_the_daemon_stops(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "logs", "-f"]) == 7
    out, err = capsys.readouterr()
    assert out == "level=info event=peer.found\n"
    assert "it stopped" in err


def test_a_level_holds_for_as_long_as_was_said(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "log-level", "debug", "--for", "5m"]) == 0
    assert capsys.readouterr().out == "debug for 5m00s, configured info\n"


def test_requests_that_make_no_sense_are_refused(path: str, daemon: StandInDaemon) -> None:
    with serving(daemon, path):
        client = ControlClient(path)
        with pytest.raises(UsageError, match="query"):
            list(client.events(FollowQuery(since=-1)))
        with pytest.raises(UsageError, match="request"):
            client.set_log_level(LevelRequest(level="debug", for_s=-1))


def test_a_check_of_copies_ends_well_only_if_all_are_known_to_be_there(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = replace(COPIES, under_replicated=0, whole=1)
    ends = {
        ExitCode.PARTIAL: (
            COPIES,
            replace(whole, unproven=1),
            replace(whole, too_close=1),
            replace(whole, conflicts=("llama@7",)),
        ),
        ExitCode.FAILED: (
            replace(whole, names=()),
            replace(whole, age_s=None),
            replace(whole, is_settled=False),
            replace(whole, obstacle="the disk is gone"),
        ),
        ExitCode.DONE: (whole,),
    }
    with serving(daemon, path):
        for code, views in ends.items():
            for daemon.copied in views:
                assert ckptctl(["--socket", path, "copies", "--check"]) == code
                is_said = "it is not known whether" in capsys.readouterr().err
                assert is_said is (code is ExitCode.FAILED)
                assert ckptctl(["--socket", path, "copies"]) == ExitCode.DONE
                assert capsys.readouterr().err == ""


def test_copies_of_a_name_of_which_nothing_is_known_are_no_success(
    path: str, daemon: StandInDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(daemon, path):
        assert ckptctl(["--socket", path, "copies", "llama", "-o", "wide"]) == ExitCode.DONE
        assert "node-a (row-1/rack-7)" in capsys.readouterr().out
        daemon.copied = replace(COPIES, versions=())
        assert ckptctl(["--socket", path, "copies", "lama", "-o", "json"]) == ExitCode.MISSING
        out, err = capsys.readouterr()
        assert json.loads(out)["versions"] == []
        assert "nothing of lama is listed" in err
    assert daemon.calls[-1] == ("copies", CopiesRequest(name="lama"))
