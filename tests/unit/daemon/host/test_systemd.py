from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckptd.daemon.host import systemd
from ckptd.daemon.host.systemd import STATUS_BYTES_MAX, Notifier, keeps_descriptors


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The service manager's end, and what it puts into NOTIFY_SOCKET."""
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = "@" + name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.setblocking(False)
        yield listener, name


def test_the_manager_hears_each_message(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("recovering 3/7 units")
    notifier.stopping()
    heard = [listener.recv(1024) for _ in range(3)]
    assert heard == [b"READY=1", b"STATUS=recovering 3/7 units", b"STOPPING=1"]


def test_a_status_is_one_short_line(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier(name)
    notifier.status("a\nREADY=1\r\n b")
    assert listener.recv(1024) == b"STATUS=a READY=1 b"
    notifier.status("x" + "é" * STATUS_BYTES_MAX)
    line = listener.recv(1024).removeprefix(b"STATUS=")
    assert len(line.decode()) == STATUS_BYTES_MAX // 2
    assert len(line) <= STATUS_BYTES_MAX


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_sent(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = Notifier.from_environment(environ | {"WATCHDOG_USEC": "1"})
    monkeypatch.delattr(socket, "socket")
    notifier.ready()
    assert notifier.watchdog_ns == 0


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).ready()
    Notifier("/" + "x" * 200).ready()


def test_a_manager_that_does_not_listen_is_not_waited_for(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        for _ in range(10_000):  # far more than its queue holds
            Notifier(name).ready()


@pytest.mark.parametrize(
    ("variables", "watchdog_ns"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "30000000"}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_the_watchdog_interval_is_read(variables: dict[str, str], watchdog_ns: int) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/n", **variables})
    assert notifier.watchdog_ns == watchdog_ns


def test_a_descriptor_goes_to_the_manager_under_its_name_and_is_let_go_by_it(
    manager: tuple[socket.socket, str], tmp_path: Path
) -> None:
    listener, name = manager
    notifier = Notifier(name)
    (tmp_path / "file").write_bytes(b"content")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    notifier.keep_open(fd, "passed-7-1-2")
    os.close(fd)
    message, (kept,), _, _ = socket.recv_fds(listener, 1024, 2)
    assert message == b"FDSTORE=1\nFDNAME=passed-7-1-2"
    assert os.pread(kept, 10, 0) == b"content"
    os.close(kept)
    notifier.let_close("passed-7-1-2")
    assert listener.recv(1024) == b"FDSTOREREMOVE=1\nFDNAME=passed-7-1-2"


def test_more_descriptors_than_the_queue_of_the_manager_holds_reach_it(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_KEPT_S", 60.0)
    listener, name = manager
    listener.settimeout(60)
    count = 2 * int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    notifier = Notifier(name)

    def send() -> None:
        with Path(os.devnull).open("rb") as file:
            for each in range(count):
                notifier.keep_open(file.fileno(), f"passed-{each}")

    with ThreadPoolExecutor(1) as sending:
        sent = sending.submit(send)
        for each in range(count):
            message, (kept,), _, _ = socket.recv_fds(listener, 1024, 2)
            os.close(kept)
            assert message.endswith(b"FDNAME=passed-%d" % each)
        sent.result()


def test_a_manager_that_keeps_descriptors_says_so() -> None:
    assert keeps_descriptors({"FDSTORE": "4096"})
    assert not keeps_descriptors({"FDSTORE": "0"})
    assert not keeps_descriptors({})
