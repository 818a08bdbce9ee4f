"""What a service manager hears of a real daemon, hands to it, and wants of it."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.config import parse_address
from ckptd.control.client import ControlClient
from ckptd.errors import CkptdError, DaemonUnreachable
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import (
    STOP_S,
    WAIT_S,
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
)
from tests.support.fault_proxy import fault_proxy

pytestmark = pytest.mark.integration

WATCHDOG_S = 1.0


class Manager:
    """The other end of ``NOTIFY_SOCKET``."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        listener.settimeout(WAIT_S)
        self.environment = {"NOTIFY_SOCKET": str(listener.getsockname())}

    def hear(self) -> dict[str, str]:
        """Return the next message as variables."""
        message = self._listener.recv(4096).decode()
        return dict(line.split("=", 1) for line in message.splitlines())

    def hear_until(self, wanted: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
        """Return the messages up to one."""
        heard = [self.hear()]
        while not wanted(heard[-1]):
            heard.append(self.hear())
        return heard

    def hears_nothing(self, for_s: float) -> bool:
        """Listen for a while; whatever was said before is forgotten."""
        self._listener.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.recv(4096)
        self._listener.settimeout(for_s)
        try:
            return not self._listener.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._listener.settimeout(WAIT_S)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        yield Manager(listener)


def is_ready(message: dict[str, str]) -> bool:
    return message.get("READY") == "1"


@pytest.fixture
def source(cluster: Cluster) -> Node:
    node = cluster.node("s")
    make_checkpoint(node.path("100"))
    node.publish(node.path("100"))
    return node


def test_it_is_ready_when_it_listens_and_knows_what_it_has(
    cluster: Cluster, source: Node, manager: Manager
) -> None:
    source.stop()
    source.environment = {**os.environ, **manager.environment}
    source.start()
    manager.hear_until(is_ready)
    status = source.client.status()
    assert status.checkpoints == 1
    address = parse_address(status.listen.data)
    socket.create_connection((address.host, address.port), timeout=WAIT_S).close()
    assert manager.hear() == {"STATUS": "serving; no recovery under way"}


def test_its_progress_is_told_and_when_it_stops_nothing_verified_is_lost(
    cluster: Cluster, source: Node, manager: Manager
) -> None:
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        node = cluster.prepare("r", peers=[link.address], environment=manager.environment)
        node.start()
        manager.hear_until(is_ready)
        recovery = node.begin()
        progress = manager.hear_until(lambda message: "ETA" in message.get("STATUS", ""))[-1]
        assert progress["STATUS"].startswith("recovering llama/rank-3: ")
        assert " units, " in progress["STATUS"]
        assert " left, ETA " in progress["STATUS"]

        # In the middle between two commits, which come every 8 MiB or every second.
        verified = node.wait_bytes(recovery, 12 * MIB).bytes_verified
        node.terminate()
        manager.hear_until(lambda message: message.get("STOPPING") == "1")
        assert node.wait_ended(STOP_S) == 0
        link.heal()
        node.restart()
        result = node.result(recovery)
    assert result.result is Result.COMPLETE
    assert result.bytes_resumed >= verified
    assert tree_digest(result.target) == tree_digest(source.path("100"))


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_reload_is_told_from_its_beginning_to_its_end(
    cluster: Cluster, manager: Manager, is_broken: bool
) -> None:
    node = cluster.prepare("a", environment=manager.environment)
    node.start()
    manager.hear_until(is_ready)
    if is_broken:
        Path(node.config_path).write_text("[")
    before_us = time.monotonic_ns() // 1000
    with contextlib.suppress(CkptdError):
        node.client.reload()
    begun = manager.hear_until(lambda message: "RELOADING" in message)[-1]
    assert begun["RELOADING"] == "1"
    assert before_us <= int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    manager.hear_until(is_ready)


def test_the_watchdog_is_not_fed_by_a_daemon_that_stood_still_and_nothing_is_harmed(
    cluster: Cluster, source: Node, manager: Manager
) -> None:
    watchdog = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000))}
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        node = cluster.prepare(
            "r", peers=[link.address], environment=manager.environment | watchdog
        )
        node.start()
        for _ in range(3):
            manager.hear_until(lambda message: message.get("WATCHDOG") == "1")
        recovery = node.begin()
        node.wait_bytes(recovery, 2 * MIB)
        os.kill(node.pid, signal.SIGSTOP)
        try:
            assert manager.hears_nothing(WATCHDOG_S)
        finally:
            os.kill(node.pid, signal.SIGCONT)
        eventually(lambda: "watchdog.withheld" in node.log_text(), "no sign of life is given")
        assert node.client.status().event_loop_lag_s > WATCHDOG_S / 2
        manager.hear_until(lambda message: message.get("WATCHDOG") == "1")
        link.heal()
        result = node.result(recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(source.path("100"))


# Sockets that the manager makes.

ACTIVATE = """
import os, sys
*numbers, config = sys.argv[1:]
for place, number in enumerate(numbers, start=3):
    os.dup2(int(number), place)
names = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "metrics:control:data"}
os.environ.update(names, LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "ckptd.cli.daemon", "run", "--config", config])
"""


def calls_itself_ready(client: ControlClient) -> bool:
    try:
        return client.health().is_ready
    except DaemonUnreachable:
        return False


def test_it_takes_the_sockets_that_it_is_handed_and_leaves_them_in_place(
    cluster: Cluster, tmp_path: Path
) -> None:
    node = cluster.prepare("a")
    node.start()  # writes the configuration
    node.wait_ready()
    node.stop()
    path = str(tmp_path / "activated.sock")
    with (
        socket.create_server(("127.0.0.1", 0)) as metrics,
        socket.create_server(("127.0.0.1", 0)) as data,
        socket.socket(socket.AF_UNIX) as control,
    ):
        control.bind(path)
        control.listen()
        # Above what the wrapper moves them to.
        numbers = [fcntl.fcntl(each, fcntl.F_DUPFD, 40) for each in (metrics, control, data)]
        try:
            daemon = subprocess.Popen(
                [sys.executable, "-c", ACTIVATE, *map(str, numbers), node.config_path],
                pass_fds=numbers,
                stderr=subprocess.PIPE,
            )
        finally:
            for number in numbers:
                os.close(number)
        with daemon:
            try:
                client = ControlClient(path)
                eventually(lambda: calls_itself_ready(client), "it is ready")
                listen = client.status().listen
                assert listen.data == f"127.0.0.1:{data.getsockname()[1]}"
                assert listen.metrics == f"127.0.0.1:{metrics.getsockname()[1]}"
                with urllib.request.urlopen(f"http://{listen.metrics}/-/ready") as answer:
                    assert answer.read() == b"ready\n"
                assert not os.path.lexists(node.client.socket_path)
            finally:
                daemon.terminate()
                daemon.communicate(timeout=STOP_S)
        assert daemon.returncode == 0
        assert os.path.lexists(path)  # it is the manager's


def test_sockets_that_are_meant_for_another_process_are_left_alone(cluster: Cluster) -> None:
    for_another = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
    node = cluster.prepare("a", environment=for_another)
    node.start()
    node.wait_ready()


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">&-", "2>&-", ">/dev/full 2>&1"])
def test_a_daemon_without_streams_works_like_any_other(cluster: Cluster, streams: str) -> None:
    source = cluster.node("a")
    source.publish(make_checkpoint(source.path("100")))
    receiver = cluster.node("r", peers=[source.address])
    receiver.prefix = ("bash", "-c", f'exec "$@" {streams}', "-")
    receiver.restart()
    assert receiver.recover().result is Result.COMPLETE
    assert tree_digest(receiver.path("llama/rank-3", "100")) == tree_digest(source.path("100"))
