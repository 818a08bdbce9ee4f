"""Daemons that are forked for tests are what daemons are that were started."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, ExitCode
from tests.support.cluster import Cluster, eventually
from tests.support.fork_server import ForkServer, fork_server
from tests.support.mounts import in_mount_namespace

pytestmark = pytest.mark.integration


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_its_exit_code_and_its_log_are_those_of_the_program(cluster: Cluster) -> None:
    node = cluster.prepare("node", sections="patience = 1\n")
    node.start()
    with pytest.raises(CkptdError, match=f"exit code {ExitCode.CONFIGURATION:d}"):
        node.wait_ready()
    assert "recovery.patience" in node.log_text()


def test_it_is_a_process_of_its_own(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("manager")
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "manager"))
        node = cluster.node("node")
        manager.settimeout(60)
        assert manager.recv(4096)
    monkeypatch.delenv("NOTIFY_SOCKET")
    other = cluster.node("other")
    assert "fork_server" in command_line(node.pid)
    assert {os.getpgid(each.pid) for each in (node, other)} == {node.pid, other.pid}
    assert Path(f"/proc/{node.pid}/cwd").resolve() == tmp_path.resolve()
    files = {Path(f"/proc/{node.pid}/fd/{fd}").resolve() for fd in range(3)}
    assert files == {Path("/dev/null"), Path(node.log_path).resolve()}
    node.kill()
    assert node.exit_code == -signal.SIGKILL
    other.stop()


def test_none_outlives_the_tests(cluster: Cluster) -> None:
    node = cluster.prepare("node")
    node.start()
    node.kill()  # its configuration is written
    server = ForkServer()
    with Path(node.log_path).open("ab") as log:
        process = server.start(["run", "--config", node.config_path], log.fileno())
    eventually(lambda: "daemon.listening" in node.log_text(), "a daemon that runs")
    ended = os.pidfd_open(process.pid)
    server.close()
    assert select.select([ended], [], [], 0)[0]
    os.close(ended)


def test_nor_does_one_that_was_asked_for_at_the_last_moment(cluster: Cluster) -> None:
    node = cluster.prepare("node")
    node.start()
    node.kill()
    server = ForkServer()
    request = {
        "arguments": ["run", "--config", node.config_path],
        "directory": str(cluster.directory),
        "environment": dict(os.environ),
    }
    ours, theirs = os.pipe()
    socket.send_fds(server._channel, [json.dumps(request).encode()], [theirs] * 3)
    os.close(theirs)
    server.close()
    while select.select([ours], [], [], 60)[0]:
        if not os.read(ours, 65536):  # nobody has the other end
            break
    else:
        pytest.fail("somebody runs")
    os.close(ours)


def test_what_only_a_program_that_is_started_has_is_started(cluster: Cluster) -> None:
    node = cluster.prepare("node", environment={"PYTHONFAULTHANDLER": "1"})
    node.start()
    node.wait_ready()
    assert "ckptd.cli.daemon" in command_line(node.pid)

    def with_other_mounts() -> None:
        assert fork_server() is None  # one that is made here would be none for the other tests
        there = cluster.prepare("there")
        there.start()
        there.wait_ready()
        assert "ckptd.cli.daemon" in command_line(there.pid)

    in_mount_namespace(with_other_mounts)


def test_a_wait_that_is_too_short_says_so(cluster: Cluster) -> None:
    node = cluster.node("node")
    with pytest.raises(TimeoutError):
        node.wait_ended(0.01)
    assert node.is_running
    node.send_signal(signal.SIGTERM)
    assert node.wait_ended(60) == 0
    node.send_signal(signal.SIGTERM)  # nobody is hit who has its number now
