from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.daemon.host.activation import inherited_files, inherited_sockets
from ckptd.errors import ConfigurationError


def tcp() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def silent_tcp() -> socket.socket:
    return socket.socket()


def unix() -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(f"\0ckptd-test-{os.getpid()}-{made.fileno()}")
    made.listen()
    return made


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def hand_over(makers: dict[str, Callable[[], socket.socket]], **changes: str) -> set[str]:
    """Put sockets at consecutive descriptors, as the manager does; return the names taken."""
    first = 200
    for index, make in enumerate(makers.values()):
        with make() as made:
            os.dup2(made.fileno(), first + index)
    environ = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(makers)),
        "LISTEN_FDNAMES": ":".join(name.rstrip("+") for name in makers),
    }
    try:
        found = inherited_sockets(environ | changes, first_fd=first)
        for taken in found.values():
            assert not taken.get_inheritable()
            assert taken.gettimeout() == 0
            taken.close()
        return set(found)
    finally:
        for index in range(len(makers)):
            try:
                os.close(first + index)
            except OSError:
                continue  # it was taken


def test_sockets_are_found_by_their_names() -> None:
    assert hand_over({"metrics": tcp, "control": unix, "data": tcp}) == {
        "control",
        "data",
        "metrics",
    }
    assert hand_over({"control": unix}) == {"control"}


@pytest.mark.parametrize("changes", [{"LISTEN_PID": "1"}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "0"}])
def test_those_of_another_process_are_left_alone(changes: dict[str, str]) -> None:
    assert hand_over({"data": tcp}, **changes) == set()
    assert inherited_sockets({}) == {}


@pytest.mark.parametrize(
    ("makers", "problem"),
    [
        ({"ckptd.socket": tcp}, "'ckptd.socket': has an unknown name"),
        ({"data": tcp, "data+": tcp}, "'data': has an unknown name, or stands there twice"),
        ({"control": tcp}, "'control': is of the wrong kind"),
        ({"data": unix}, "'data': is of the wrong kind"),
        ({"control": datagrams}, "'control': is of the wrong kind"),
        ({"data": silent_tcp}, "'data': does not listen"),
    ],
)
def test_a_socket_that_cannot_be_used_is_refused(
    makers: dict[str, Callable[[], socket.socket]], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        hand_over(makers)


def test_a_descriptor_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is not there"):
        hand_over({"data": tcp}, LISTEN_FDS="2", LISTEN_FDNAMES="data:metrics")


def test_files_that_an_earlier_life_kept_are_no_sockets(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    os.dup2(fd, 210)
    os.close(fd)
    environ = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "passed-7-1-2",
    }
    assert inherited_sockets(environ, first_fd=210) == {}
    assert inherited_files(environ, first_fd=210) == [(210, "passed-7-1-2")]
    assert not os.get_inheritable(210)
    os.close(210)
    assert inherited_files({}) == []
