"""Descriptors that come with bytes: exactly those that are expected are kept."""

from __future__ import annotations

import os
import resource
import socket
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.descriptors import DESCRIPTORS_MAX, DescriptorSocket, descriptors_in
from ckptd.errors import CkptdError, Shortage
from tests.support.stores import open_descriptors


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[DescriptorSocket, socket.socket]]:
    """A socket that keeps descriptors, and the other end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        before = open_descriptors()
        with DescriptorSocket() as keeping:
            keeping.connect(str(tmp_path / "s"))
            other, _ = listening.accept()
            with other:
                yield keeping, other
        assert open_descriptors() == before, "a descriptor was left open"


def send(other: socket.socket, message: bytes, count: int) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        socket.send_fds(other, [message], [fd] * count)
    finally:
        os.close(fd)


def read_line(keeping: DescriptorSocket) -> bytes:
    with keeping.makefile("rb") as file:
        return file.readline()


def test_one_descriptor_comes_with_its_message(
    ends: tuple[DescriptorSocket, socket.socket],
) -> None:
    keeping, other = ends
    other.sendall(b"some bytes before, ")
    send(other, b"and the message\n", 1)
    assert read_line(keeping) == b"some bytes before, and the message\n"
    fd = keeping.take()
    assert os.stat("/dev/null").st_rdev == os.fstat(fd).st_rdev
    assert not os.get_inheritable(fd)
    os.close(fd)
    with pytest.raises(CkptdError, match="gave 0 descriptors"):
        keeping.take()


@pytest.mark.parametrize("count", [0, 2, DESCRIPTORS_MAX])
def test_none_and_several_are_refused_and_closed(
    ends: tuple[DescriptorSocket, socket.socket], count: int
) -> None:
    keeping, other = ends
    send(other, b"message\n", count)
    read_line(keeping)
    with pytest.raises(CkptdError, match=f"gave {count} descriptors"):
        keeping.take()


def test_what_finds_no_room_is_a_shortage_and_what_did_is_closed(
    ends: tuple[DescriptorSocket, socket.socket],
) -> None:
    keeping, other = ends
    send(other, b"message\n", 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        keeping.recv_into(bytearray(8))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(Shortage, match="no file descriptor left"):
        keeping.take()


def test_other_messages_beside_bytes_are_no_descriptors() -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [4, 5]).tobytes() + b"\0")
    assert descriptors_in([(socket.SOL_SOCKET, 29, b"12345678"), rights]) == [4, 5]
