from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl import wait_verbs
from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.waiting import WaitEvent, WaitRequest, WaitResult, exit_code_of_wait
from ckptd.errors import DaemonUnreachable, ExitCode
from ckptd.model.words import FailureCause, Result
from tests.support.control_samples import RESULT, WAIT_PROGRESS, WAIT_RESULT

HELD_UP = msgspec.structs.replace(
    WAIT_PROGRESS, detail="it waits for file /d/a, which is not its own"
)
LOST = DaemonUnreachable("no daemon answers at /s", "No such file or directory")
WAIT = ["--socket", "/s", "wait", "llama@100"]


class Daemon:
    """Plays one stream for each time it is asked; then the time is up."""

    def __init__(self, *streams: Sequence[WaitEvent | Exception]) -> None:
        self.streams = list(streams)
        self.asked: list[WaitRequest] = []

    def until(self, deadline_s: float | None) -> Daemon:
        self.deadline_s = deadline_s
        return self

    def wait(self, request: WaitRequest) -> Iterator[WaitEvent]:
        self.asked.append(request)
        for step in self.streams.pop(0) if self.streams else [TimeoutError()]:
            if isinstance(step, Exception):
                raise step
            yield step


def asking(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> None:
    monkeypatch.setattr(wait_verbs, "_AGAIN_S", 0.0)
    monkeypatch.setattr(wait_verbs, "client_of", lambda _: daemon)


def test_it_prints_where_it_is_and_says_what_it_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(monkeypatch, Daemon([WAIT_PROGRESS, WAIT_RESULT]))
    assert ckptctl(WAIT) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out == "/data/llama/rank-0/100\n"
    assert err == (
        "ckptctl: waiting for recovery 01J9QX of llama/rank-0@100, transferring; "
        "1 GiB left, ETA 2s\n"
    )


def test_a_daemon_that_is_not_there_yet_is_waited_for_and_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("table", "json"):
        asking(monkeypatch, Daemon([LOST], [LOST], [WAIT_RESULT]))
        assert ckptctl([*WAIT, "-o", output]) == ExitCode.DONE
        assert capsys.readouterr().err == (
            "ckptctl: waiting for the daemon: no daemon answers at /s: No such file or directory\n"
        )


def test_a_stream_that_ends_is_asked_for_again_with_what_was_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = Daemon([WAIT_PROGRESS], [WAIT_PROGRESS, LOST], [WAIT_RESULT])
    asking(monkeypatch, daemon)
    assert ckptctl([*WAIT, "--for", "phase=core"]) == ExitCode.DONE
    assert [request.recovery for request in daemon.asked] == ["", "01J9QX", "01J9QX"]
    assert {request.goal for request in daemon.asked} == {"phase=core"}


def test_which_shards_is_said_as_for_a_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon([WAIT_RESULT], [WAIT_RESULT])
    asking(monkeypatch, daemon)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    for typed in ("auto", "0-1"):
        assert ckptctl([*WAIT, "--shards", typed]) == ExitCode.DONE
    assert [request.shards for request in daemon.asked] == ["3/8", "0-1"]


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ([[WAIT_PROGRESS]], ExitCode.TIMED_OUT, "waiting for recovery 01J9QX of llama"),
        ([[WAIT_PROGRESS, LOST]], ExitCode.TIMED_OUT, "waiting for recovery 01J9QX of llama"),
        (
            [[WAIT_PROGRESS, HELD_UP]],
            ExitCode.TIMED_OUT,
            f"waiting for {WAIT_PROGRESS.waiting_for}; {HELD_UP.detail}",
        ),
        ([[LOST]], ExitCode.UNREACHABLE, "waiting for the daemon: no daemon answers"),
    ],
)
def test_when_the_time_is_up_it_says_what_was_waited_for(
    streams: Sequence[Sequence[WaitEvent | Exception]],
    code: ExitCode,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asking(monkeypatch, Daemon(*streams))
    assert ckptctl([*WAIT, "--timeout", "10m"]) == code
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"ckptctl: llama@100, complete, was not here within 10m: {said}")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([WAIT_PROGRESS, WAIT_RESULT], ExitCode.TIMED_OUT),
        ([WAIT_RESULT], ExitCode.DONE),
        ([LOST], ExitCode.UNREACHABLE),
    ],
)
def test_without_any_time_it_looks_once(
    steps: Sequence[WaitEvent | Exception], code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(steps, [WAIT_RESULT])
    asking(monkeypatch, daemon)
    assert ckptctl([*WAIT, "--timeout", "0s"]) == code
    assert (daemon.deadline_s, len(daemon.asked)) == (None, 1)


def test_no_daemon_at_all_ends_when_the_time_is_up(tmp_path: Path) -> None:
    deadline_s = time.monotonic() + 0.05
    client = ControlClient(str(tmp_path / "sock"), deadline_s=deadline_s)
    waiting = wait_verbs._Waiting(client, WaitRequest(checkpoint="llama"), is_once=False)
    with pytest.raises(TimeoutError):
        list(waiting.events(lambda _: None))
    assert not waiting.is_answered


NOT_REACHED = msgspec.structs.replace(
    WAIT_RESULT, is_reached=False, directory="", why="llama@100 has no phase 'coer'; it has core"
)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (WAIT_RESULT, ExitCode.DONE),
        (NOT_REACHED, ExitCode.MISSING),
        *(
            (
                msgspec.structs.replace(
                    NOT_REACHED,
                    ended=msgspec.structs.replace(RESULT, result=result, cause=cause),
                ),
                code,
            )
            for result, cause, code in (
                (Result.FAILED, FailureCause.STORE, ExitCode.FAILED),
                (Result.FAILED, FailureCause.UNKNOWN, ExitCode.MISSING),
                (Result.FAILED, FailureCause.VERIFICATION, ExitCode.VERIFICATION),
                (Result.FAILED, FailureCause.CONFLICT, ExitCode.CONFLICT),
                (Result.CANCELLED, None, ExitCode.FAILED),
                (Result.PARTIAL, None, ExitCode.PARTIAL),
                (Result.CHOSEN, None, ExitCode.PARTIAL),
            )
        ),
    ],
)
def test_the_exit_code_says_why_it_does_not_come(result: WaitResult, code: ExitCode) -> None:
    assert exit_code_of_wait(result) == code


def test_what_does_not_come_is_said_and_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(monkeypatch, Daemon([NOT_REACHED]))
    assert ckptctl([*WAIT, "--for", "phase=coer"]) == ExitCode.MISSING
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "ckptctl: llama@100, phase=coer, does not come: "
        "llama@100 has no phase 'coer'; it has core\n"
    )


def test_what_cannot_be_waited_for_is_refused_before_the_daemon_is_asked() -> None:
    assert ckptctl([*WAIT, "--for", "core"]) == ExitCode.USAGE
    with pytest.raises(SystemExit) as ended:
        ckptctl([*WAIT, "--for", "newest"])
    assert ended.value.code == ExitCode.USAGE
