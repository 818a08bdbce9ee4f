"""The control socket, both ends, with a stand-in daemon behind a real server."""

import contextlib
import grp
import gzip
import http.client
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.prioritized import NeedRequest, PrioritizeRequest
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import (
    CkptdError,
    Conflict,
    DaemonUnreachable,
    ExitCode,
    NotFound,
    NotPermitted,
    OutOfSpace,
    StorageError,
    VerificationFailed,
)
from ckptd.limits import CONTROL_CLIENTS_MAX, CONTROL_MESSAGE_BYTES_MAX
from ckptd.model.words import Stage
from tests.support.control import Hold, StandInDaemon, serving
from tests.support.control_samples import (
    CHECKPOINT,
    EXPLANATION,
    NEED_PROGRESS,
    NEED_RESULT,
    PEER,
    PEER_VIEW,
    PLAN,
    PRIORITIZED,
    PROGRESS,
    PUBLISH_PROGRESS,
    PUBLISH_RESULT,
    RESULT,
    STATUS,
    VIEW,
)
from tests.support.loops import NewLoop

pytestmark = pytest.mark.integration

replace = msgspec.structs.replace
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ckptd.sock")


def ask(
    socket_path: str,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, object]]:
    """Send one request as any HTTP client would; return status and document."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(socket_path)
        connection = http.client.HTTPConnection("ckptd")
        connection.sock = connected
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


def error_in(document: dict[str, object]) -> dict[str, object]:
    error = document["error"]
    assert isinstance(error, dict)
    return error


# The socket.


def test_the_socket_is_for_owner_and_group_alone(path: str, new_loop: NewLoop) -> None:
    with serving(StandInDaemon(), path, new_loop):
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o660
    assert not os.path.lexists(path)


def test_a_dead_socket_is_replaced(path: str, new_loop: NewLoop) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with serving(StandInDaemon(), path, new_loop):
        assert ControlClient(path).status() == STATUS


def test_the_socket_of_a_living_daemon_is_left_alone(path: str, new_loop: NewLoop) -> None:
    with serving(StandInDaemon(), path):
        second = serving(StandInDaemon(), path, new_loop)
        with pytest.raises(Conflict, match="is in use by another daemon"), second:
            pass
        assert ControlClient(path).status() == STATUS


def test_what_is_no_socket_is_not_removed(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(Conflict, match="no socket"), serving(StandInDaemon(), path):
        pass
    assert Path(path).read_text() == "mine"


def test_a_link_to_a_dead_socket_is_not_followed(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{path}.dead")
    os.symlink(f"{path}.dead", path)
    with pytest.raises(Conflict, match="no socket"), serving(StandInDaemon(), path):
        pass
    assert os.path.islink(path)


def test_a_path_that_cannot_be_bound_is_an_error(tmp_path: Path) -> None:
    for path, reason in (("missing/a", "No such file"), ("x" * 120, "AF_UNIX path too long")):
        daemon = serving(StandInDaemon(), str(tmp_path / path))
        with pytest.raises(StorageError, match=f"cannot be bound: {reason}"), daemon:
            pass


def test_a_stopping_daemon_does_not_remove_the_socket_of_the_next(path: str) -> None:
    with serving(StandInDaemon(), path):
        os.unlink(path)
        with serving(StandInDaemon(), path):
            os.rename(path, f"{path}.next")
        os.rename(f"{path}.next", path)
    assert os.path.lexists(path)


# Requests and answers.


def test_every_call_of_the_client_comes_through(path: str, new_loop: NewLoop) -> None:
    daemon = StandInDaemon()
    client = ControlClient(path)
    recover = RecoverRequest(checkpoint="llama/rank-0", version=100, to="/data/x", patience_s=1.5)
    publish = PublishRequest(directory="/data/x", checkpoint="a", version=3, critical=("*.json",))
    plan = PlanRequest(checkpoint="llama/rank-0", version=100)
    prioritize, need = PrioritizeRequest(pattern="a*"), NeedRequest(path="/data/x/model/a")
    with serving(daemon, path, new_loop):
        assert client.version().ckptd_version == "0.1.0"
        assert client.status() == STATUS
        assert client.checkpoints() == [CHECKPOINT]
        assert client.peers() == [PEER]
        assert client.peer("node-b") == PEER_VIEW
        assert client.plan(plan) == PLAN
        assert client.recoveries() == []
        begun = client.recover(recover)
        assert begun == replace(VIEW, stage=Stage.SEEKING)
        assert client.recoveries() == [begun]
        assert client.recovery("01J9QX") == begun
        assert client.explain("01J9QX") == EXPLANATION
        assert client.pause("01J9QX") == replace(begun, is_paused=True)
        assert client.resume("01J9QX") == begun
        assert client.cancel("01J9QX").stage is Stage.CANCELLED
        assert client.prioritize("01J9QX", prioritize) == PRIORITIZED
        assert list(client.need(need)) == [NEED_PROGRESS, NEED_RESULT]
        assert list(client.watch("01J9QX")) == [PROGRESS, RESULT]
        assert list(client.publish(publish)) == [PUBLISH_PROGRESS, PUBLISH_RESULT]
    assert daemon.calls == [
        ("plan", plan),
        ("recover", recover),
        ("pause", "01J9QX"),
        ("resume", "01J9QX"),
        ("cancel", "01J9QX"),
        ("prioritize", ("01J9QX", prioritize)),
        ("need", need),
        ("publish", publish),
    ]


@pytest.mark.parametrize(
    ("method", "target", "status", "problem"),
    [
        ("GET", "/", 404, "path /: is not part of the control API"),
        ("GET", "/v2/status", 404, "path /v2/status: is not part of the control API"),
        ("DELETE", "/v1/recoveries/x", 405, "DELETE /v1/recoveries/x: Method Not Allowed"),
        ("GET", "/v1/recoveries/x", 404, "recovery x: is not known"),
        ("GET", "/v1/recoveries/x/events", 404, "recovery x: is not known"),
        ("POST", "/v1/recoveries/x/pause", 404, "recovery x: is not known"),
        ("GET", "/v1/peers/x", 404, "peer 'x': is not known. Known: node-b."),
        (
            "GET",
            "/v1/plan?version=3",
            400,
            "query: is not understood: Object missing required field `checkpoint`",
        ),
        (
            "GET",
            "/v1/plan?checkpoint=a&wait=1",
            400,
            "query: is not understood: Object contains unknown field `wait`",
        ),
    ],
)
def test_what_is_not_there_is_an_error_document(
    path: str, method: str, target: str, status: int, problem: str
) -> None:
    with serving(StandInDaemon(), path):
        answered, document = ask(path, method, target)
    assert (answered, error_in(document)["message"]) == (status, problem)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"checkpoint":"a","wait":true}', "Object contains unknown field `wait`"),
        (b'{"checkpoint":3}', "Expected `str`, got `int` - at `$.checkpoint`"),
        (b"{}", "Object missing required field `checkpoint`"),
        (b"not json", "JSON is malformed"),
        (b"", "Input data was truncated"),
        (b'{"checkpoint":"\xff"}', "is not understood"),
    ],
)
def test_a_request_that_is_not_understood_is_refused_with_the_place(
    path: str, body: bytes, problem: str
) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        status, document = ask(path, "POST", "/v1/recoveries", body)
    error = error_in(document)
    assert (status, error["code"], error["exit_code"]) == (400, "usage", 2)
    assert problem in str(error["message"])
    assert daemon.calls == []


def test_a_body_of_2_mib_is_refused(path: str, new_loop: NewLoop) -> None:
    with serving(StandInDaemon(), path, new_loop):
        status, document = ask(path, "POST", "/v1/publications", b" " * (2 << 20))
    assert status == 413
    assert f"more than {CONTROL_MESSAGE_BYTES_MAX} bytes" in str(error_in(document)["message"])


def test_a_body_is_not_inflated(path: str) -> None:
    body = gzip.compress(b'{"checkpoint":"a"}')
    with serving(StandInDaemon(), path):
        status, document = ask(path, "POST", "/v1/recoveries", body, {"Content-Encoding": "gzip"})
    assert (status, error_in(document)["code"]) == (400, "usage")


def test_a_request_from_a_web_page_is_refused(path: str) -> None:
    with serving(StandInDaemon(), path):
        status, document = ask(path, "GET", "/v1/status", headers={"Origin": "https://example.org"})
    assert (status, error_in(document)["code"]) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (OutOfSpace("target /data/a", "needs 2 GiB", "Free some."), 507),
        (Conflict("target /data/a", "is taken"), 409),
        (NotFound("checkpoint a", "is held by nobody"), 404),
        (VerificationFailed("unit a", "is not what the manifest says"), 500),
    ],
)
def test_an_error_of_the_daemon_reaches_the_caller(
    path: str, refusal: CkptdError, status: int
) -> None:
    with serving(StandInDaemon(refusal=refusal), path):
        answered, document = ask(path, "POST", "/v1/recoveries", b'{"checkpoint":"a"}')
        with pytest.raises(type(refusal)) as raised:
            ControlClient(path).status()
    assert (answered, error_in(document)["message"]) == (status, str(refusal))
    assert (str(raised.value), raised.value.exit_code) == (str(refusal), refusal.exit_code)


def test_a_mistake_of_the_daemon_is_an_answer_and_a_log_line(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = StandInDaemon(views=[VIEW], watching=[ZeroDivisionError("mistake")])
    with serving(daemon, path):
        status, document = ask(path, "GET", "/v1/recoveries/01J9QX/events")
    assert (status, error_in(document)["code"]) == (500, "failed")
    assert [record.message for record in caplog.records] == ["control request failed"]


def test_a_client_beyond_the_limit_is_told_so(path: str, new_loop: NewLoop) -> None:
    client = ControlClient(path)
    with serving(StandInDaemon(), path, new_loop), contextlib.ExitStack() as others:
        for _ in range(CONTROL_CLIENTS_MAX):
            other = others.enter_context(socket.socket(socket.AF_UNIX))
            other.connect(path)
        with pytest.raises(DaemonUnreachable, match="32 clients are connected already"):
            client.status()
        others.close()
        for _ in range(1000):  # until the server has seen one of them go
            with contextlib.suppress(DaemonUnreachable):
                assert client.status() == STATUS
                break
        else:
            pytest.fail("the limit still holds")


# Streams.


def test_an_error_within_a_stream_is_its_last_event(path: str, new_loop: NewLoop) -> None:
    daemon = StandInDaemon(
        views=[VIEW], watching=[PROGRESS, OutOfSpace("target /data/a", "is full", "Free some.")]
    )
    with serving(daemon, path, new_loop):
        events = ControlClient(path).watch("01J9QX")
        assert next(events) == PROGRESS
        with pytest.raises(OutOfSpace, match=r"^target /data/a: is full\. Free some\.$"):
            next(events)


def test_a_stream_that_ends_without_a_result_is_a_lost_daemon(path: str) -> None:
    lost = pytest.raises(DaemonUnreachable, match="stopped before the recovery ended")
    with serving(StandInDaemon(views=[VIEW], watching=[PROGRESS]), path), lost:
        list(ControlClient(path).watch("01J9QX"))


def test_a_stopping_daemon_ends_its_streams(path: str, new_loop: NewLoop) -> None:
    daemon = StandInDaemon(publishing=[PUBLISH_PROGRESS, Hold()])
    request = PublishRequest(directory="/data/x", checkpoint="a", version=3)
    with serving(daemon, path, new_loop):
        events = ControlClient(path).publish(request)
        assert next(events) == PUBLISH_PROGRESS
    assert daemon.publishing_stopped.is_set()
    with pytest.raises(DaemonUnreachable, match="stopped before everything was published"):
        next(events)


@pytest.mark.parametrize("steps", [[Hold()], [PUBLISH_PROGRESS, Hold()]])
def test_a_publishing_stops_when_its_client_goes_away(
    path: str, new_loop: NewLoop, steps: list[object]
) -> None:
    daemon = StandInDaemon(publishing=steps)  # type: ignore[arg-type]
    body = b'{"directory":"/data/x","checkpoint":"a","version":3}'
    with serving(daemon, path, new_loop):
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(path)
            connected.sendall(
                b"POST /v1/publications HTTP/1.1\r\nHost: ckptd\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            assert daemon.publishing_begun.wait(60)
            assert not daemon.publishing_stopped.is_set()
        assert daemon.publishing_stopped.wait(60)


# Who may, and who is there.


@contextlib.contextmanager
def no_rights_on(path: str) -> Iterator[None]:
    """Be somebody who may not use the socket, also when the tests run as root."""
    if os.geteuid() != 0:
        os.chmod(path, 0)
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def test_a_caller_without_rights_is_told_which_group_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # everybody may pass; tmp_path lets nobody
        path = f"{directory}/ckptd.sock"
        with serving(StandInDaemon(), path):
            with no_rights_on(path), pytest.raises(NotPermitted) as raised:
                ControlClient(path).status()
            with no_rights_on(path):
                assert ckptctl(["--socket", path, "status"]) == ExitCode.NOT_PERMITTED
    user = pwd.getpwuid(os.geteuid() or NOBODY)
    group = grp.getgrgid(os.getegid()).gr_name
    assert str(raised.value) == (
        f"control socket {path}: may not be used by {user.pw_name} (uid {user.pw_uid}). "
        f"Ask an administrator to add that user to the group {group}."
    )
    assert capsys.readouterr() == ("", f"ckptctl: {raised.value}\n")


def test_nobody_at_the_socket_is_told_with_the_remedy(path: str) -> None:
    with pytest.raises(DaemonUnreachable) as raised:
        ControlClient(path).status()
    assert str(raised.value) == (
        f"no daemon answers at {path}: No such file or directory. "
        "Start it with 'systemctl start ckptd', or name its socket with --socket."
    )


# Other programs.


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_a_client(path: str) -> None:
    def curl(*argv: str) -> str:
        return subprocess.run(
            ["curl", "-sS", "--unix-socket", path, *argv],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    with serving(StandInDaemon(), path):
        assert msgspec.json.decode(curl("http://ckptd/v1/status"))["node"] == "node-a"
        begun = json.loads(curl("-d", '{"checkpoint":"a"}', "http://ckptd/v1/recoveries"))
        events = curl("-N", f"http://ckptd/v1/recoveries/{begun['recovery']}/events")
    assert [json.loads(line)["type"] for line in events.splitlines()] == ["progress", "result"]
