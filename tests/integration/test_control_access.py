"""Who may do what over a real socket, and what somebody without rights can do to the daemon."""

import contextlib
import grp
import http.client
import json
import os
import pwd
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.roles import Members, Roles
from ckptd.control.routes import ROUTES
from ckptd.control.server.callers import caller_at
from ckptd.errors import ConfigurationError, ExitCode, NotPermitted
from ckptd.limits import CONTROL_CLIENTS_MAX
from ckptd.model.words import Role
from tests.support.callers import NOBODY, NOT_US, acting_as, ordinary_user, roles_of
from tests.support.cluster import WAIT_S, Cluster, eventually
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import RELOADED, STATUS, VIEW

pytestmark = pytest.mark.integration


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # everybody may pass; tmp_path lets nobody
        yield f"{directory}/ckptd.sock"


@contextlib.contextmanager
def open_to_all(daemon: StandInDaemon, path: str, roles: Roles) -> Iterator[None]:
    with serving(daemon, path, roles=roles):
        os.chmod(path, 0o666)
        yield


def ask(
    path: str, method: str, target: str, fields: dict[str, str] | None = None
) -> tuple[int, str]:
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(path)
        connection = http.client.HTTPConnection("ckptd")
        connection.sock = connected
        with contextlib.closing(connection):
            connection.request(method, target, headers=fields or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.mark.parametrize("role", Role)
def test_every_request_is_refused_below_its_role_and_only_there(path: str, role: Role) -> None:
    with ordinary_user() as uid:
        pass
    daemon = StandInDaemon(views=[VIEW])
    with open_to_all(daemon, path, roles_of(uid, role)), ordinary_user():
        refused = {
            route
            for route in ROUTES
            if ask(path, route.method, route.path.format(node="node-b", recovery=VIEW.recovery))[0]
            == http.HTTPStatus.FORBIDDEN
        }
    assert refused == {route for route in ROUTES if route.role > role}
    if role is Role.STRANGER:
        assert daemon.calls == []


def test_who_orders_something_is_noted_with_name_and_what_it_is_about(path: str) -> None:
    daemon = StandInDaemon(views=[VIEW])
    me, user = os.geteuid(), pwd.getpwuid(os.geteuid()).pw_name
    with serving(daemon, path):
        client = ControlClient(path)
        client.status()
        client.pause(VIEW.recovery)
        client.recover(RecoverRequest(checkpoint="llama/rank-0", version=0))
    assert [(noted.verb, noted.facts) for noted in daemon.orders] == [
        ("pause", {"recovery": VIEW.recovery}),
        ("recover", {"checkpoint": "llama/rank-0", "version": 0}),
    ]
    assert {(noted.uid, noted.user, noted.is_permitted) for noted in daemon.orders} == {
        (me, user, True)
    }


def test_who_orders_something_without_the_role_for_it_is_noted(path: str) -> None:
    with ordinary_user() as uid:
        pass
    daemon = StandInDaemon(views=[VIEW])
    with open_to_all(daemon, path, roles_of(uid, Role.VIEWER)), ordinary_user():
        assert ask(path, "POST", "/v1/reload")[0] == http.HTTPStatus.FORBIDDEN
    [noted] = daemon.orders
    assert (noted.uid, noted.verb, noted.is_permitted) == (uid, "reload", False)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_no_way_around(path: str, method: str) -> None:
    with ordinary_user() as uid:
        pass
    with open_to_all(StandInDaemon(), path, roles_of(uid, Role.STRANGER)), ordinary_user():
        status, _ = ask(path, method, "/v1/status")
    assert status == (403 if method == "HEAD" else 405)


def test_the_command_ends_with_6_and_the_sentence(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ordinary_user() as uid:
        user = pwd.getpwuid(uid).pw_name
    roles = Roles(NOT_US, {Role.OPERATOR: Members({}, {"ckptd-operators": NOT_US})})
    with open_to_all(StandInDaemon(), path, roles), ordinary_user():
        assert ckptctl(["--socket", path, "status"]) == ExitCode.DONE
        capsys.readouterr()
        assert ckptctl(["--socket", path, "recover", "a"]) == ExitCode.NOT_PERMITTED
        out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        (
            f"ckptctl: permission denied: uid {uid} ({user}) is 'viewer'; "
            "'recover' needs 'operator'. "
            "Ask an admin to add you to group ckptd-operators (control.operator_groups).\n"
        ),
    )


def test_whoami_tells_what_the_daemon_sees(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ordinary_user() as uid:
        gids = tuple(sorted({os.getegid(), *os.getgroups()}))
        user = pwd.getpwuid(uid).pw_name
    with open_to_all(StandInDaemon(), path, roles_of(uid, Role.STRANGER)), ordinary_user():
        caller = ControlClient(path).whoami()
        assert ckptctl(["--socket", path, "whoami"]) == ExitCode.DONE
    assert (caller.uid, caller.user, caller.gids, caller.role) == (uid, user, gids, "stranger")
    groups = ", ".join(map(str, gids))
    assert capsys.readouterr().out == f"uid {uid} ({user}) with groups {groups}: stranger\n"


def test_reload_comes_through_and_is_told(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StandInDaemon(), path):
        assert ControlClient(path).reload() == RELOADED
        assert ckptctl(["--socket", path, "reload"]) == ExitCode.DONE
    assert capsys.readouterr().out == (
        "applied: log.level\ncounts from the next start: listen.data\n"
    )


def test_a_caller_is_the_user_and_all_its_groups() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        caller = caller_at(there)
    assert caller.uid == os.geteuid()
    assert caller.gids == {os.getegid(), *os.getgroups()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can join groups")
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
def test_no_group_is_lost_however_many_there_are(path: str, count: int) -> None:
    groups = list(range(100_000, 100_000 + count))
    last = Members({}, {"last": groups[-1] if groups else NOBODY})
    with (
        open_to_all(StandInDaemon(), path, Roles(NOT_US, {Role.OPERATOR: last})),
        acting_as(NOBODY, NOBODY, groups),
    ):
        caller = ControlClient(path).whoami()
    assert set(caller.gids) == {NOBODY, *groups}
    assert caller.role == "operator"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Origin": "null"}, 403),
        ({"Referer": "http://ckptd/"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "ckptd"}, 200),
    ],
)
def test_a_web_page_is_refused_also_as_admin(
    path: str, fields: dict[str, str], status: int
) -> None:
    with serving(StandInDaemon(), path):
        answered, body = ask(path, "GET", "/v1/status", fields)
    assert answered == status
    if status != 200:
        assert json.loads(body)["error"]["code"] == "not_permitted"


# What somebody can do to the daemon who can connect and nothing else.


@pytest.mark.parametrize("mode", [0o757, 0o1777])
def test_a_socket_where_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)
    daemon = serving(StandInDaemon(), str(directory / "ckptd.sock"))
    with pytest.raises(ConfigurationError, match=f"has mode {mode:04o}"), daemon:
        pass
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_socket_in_the_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    daemon = serving(StandInDaemon(), str(tmp_path / "ckptd.sock"))
    with pytest.raises(ConfigurationError, match=f"belongs to uid {NOBODY}"), daemon:
        pass


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_ten_thousand_connections_leave_the_daemon_as_it_was(cluster: Cluster) -> None:
    node = cluster.node("a")
    before = descriptors(node.pid)
    held: list[socket.socket] = []
    most = 0
    with contextlib.ExitStack() as stack:
        for number in range(10_000):
            connected = stack.enter_context(socket.socket(socket.AF_UNIX))
            connected.connect(node.client.socket_path)
            if number % 2:  # the others say nothing at all
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connected.send(b"GET /v1/status HTTP/1.1\r\nHost:")  # and never more
            held.append(connected)
            if len(held) == 400:
                held.pop(0).close()
            if number % 500 == 0:
                most = max(most, descriptors(node.pid))
        most = max(most, descriptors(node.pid))
    # What one pass of the loop accepts, a queue of 100, is closed at the end of it.
    assert most - before <= 2 * CONTROL_CLIENTS_MAX + 100
    eventually(lambda: descriptors(node.pid) <= before, "every connection is closed")
    assert node.client.status().node == "a"


def test_clients_that_never_finish_a_head_make_room_for_others(path: str) -> None:
    with serving(StandInDaemon(), path), contextlib.ExitStack() as stack:
        stalling = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(32)]
        for connected in stalling:
            connected.settimeout(60)
            connected.connect(path)
            connected.sendall(b"POST /v1/recoveries HTTP/1.1\r\nHost: ck")
        for connected in stalling:
            with contextlib.suppress(ConnectionResetError):  # it had sent something
                assert connected.recv(1) == b""
        assert ControlClient(path).status() == STATUS


def test_an_endless_message_is_cut_off_at_1_mib(path: str) -> None:
    daemon = StandInDaemon()
    head = b"POST /v1/recoveries HTTP/1.1\r\nHost: ckptd\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (1 << 16, b" " * (1 << 16))
    with serving(daemon, path), socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(60)
        connected.connect(path)
        connected.sendall(head)
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1 << 30:
                sent += connected.send(piece)
        assert sent < 64 << 20
        assert ControlClient(path).status() == STATUS
    assert daemon.calls == []


def test_a_name_that_is_not_known_stops_the_start(cluster: Cluster) -> None:
    known = grp.getgrgid(os.getegid()).gr_name
    node = cluster.prepare(
        "a", sections=f'[control]\nviewer_groups = ["{known}", "no-such-group"]\n'
    )
    node.start()
    assert node.wait_ended(WAIT_S) == ExitCode.CONFIGURATION
    assert "control.viewer_groups: group 'no-such-group' is not known" in node.log_text()
    assert not os.path.lexists(node.client.socket_path)


def test_nobody_outside_the_group_can_connect(path: str) -> None:
    with serving(StandInDaemon(), path):
        if os.geteuid() != 0:
            pytest.skip("only root can be somebody else")
        with acting_as(NOBODY, NOBODY, []), pytest.raises(NotPermitted, match="may not be used"):
            ControlClient(path).status()
