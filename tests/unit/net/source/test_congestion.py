"""The congestion control that accepted connections have. bbr need not be here: reno always is."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from ckptd.limits import MIB
from ckptd.net.source import congestion
from ckptd.net.source.congestion import (
    AUTO,
    SHORT_RTT_US,
    SYSTEM,
    Congestion,
    PacedSending,
    control_of,
    min_rtt_us,
    obstacle_to,
    permitted_controls,
    short_control,
)
from tests.support.somebody import somebody

BESIDE_DEFAULT = "reno"
"""Built into every kernel, and for everybody."""


def create_listening(control: str = "") -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    if control:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
    return listening


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with create_listening() as made:
        yield made


def accept(listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    ours = socket.create_connection(listening.getsockname())
    return ours, listening.accept()[0]


def accepted_control(congestion: Congestion, listening: socket.socket) -> str:
    ours, theirs = accept(listening)
    with ours, theirs:
        congestion.settle(theirs)
        return control_of(theirs)


@pytest.fixture
def paces_with_reno(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reno be what paces, and let its place be taken by another that is here."""
    monkeypatch.setattr(congestion, "_PACING", BESIDE_DEFAULT)
    monkeypatch.setattr(congestion, "_SHORT", ("nobody-has-this", *other_controls()))


def other_controls() -> list[str]:
    return [name for name in permitted_controls() if name != BESIDE_DEFAULT]


def test_the_system_decides_unless_something_else_is_said(listening: socket.socket) -> None:
    systems = control_of(listening)
    assert systems
    choice = Congestion(SYSTEM)
    choice.listen(listening)
    assert accepted_control(choice, listening) == str(choice) == systems


def test_connections_inherit_what_is_named_and_a_change_is_for_new_ones() -> None:
    with create_listening() as listening:
        systems = control_of(listening)
        choice = Congestion(BESIDE_DEFAULT)
        choice.listen(listening)
        ours, theirs = accept(listening)
        with ours, theirs:
            assert control_of(theirs) == str(choice) == BESIDE_DEFAULT
            choice.change(SYSTEM)
            assert control_of(theirs) == BESIDE_DEFAULT
        assert accepted_control(choice, listening) == str(choice) == systems


def test_a_socket_that_was_handed_over_gets_back_what_it_came_with() -> None:
    (other, *_) = other_controls() or [BESIDE_DEFAULT]
    with create_listening(BESIDE_DEFAULT) as listening:
        choice = Congestion(other)
        choice.listen(listening)
        assert accepted_control(choice, listening) == other
        choice.change(SYSTEM)
        assert accepted_control(choice, listening) == BESIDE_DEFAULT


@pytest.mark.skipif(not other_controls(), reason="the kernel has only reno")
@pytest.mark.usefixtures("paces_with_reno")
def test_a_short_path_gets_one_without_timers_and_a_long_one_keeps_the_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rtts: dict[str, int | None] = {}
    monkeypatch.setattr(congestion, "min_rtt_us", lambda _: rtts["now"])
    with create_listening(BESIDE_DEFAULT) as listening:
        choice = Congestion(AUTO)
        choice.listen(listening)
        short = other_controls()[0]
        assert str(choice) == f"{short} below 2 ms of round trip, else {BESIDE_DEFAULT}"
        for rtt_us, control in (
            (50, short),
            (SHORT_RTT_US - 1, short),
            (SHORT_RTT_US, BESIDE_DEFAULT),
            (80_000, BESIDE_DEFAULT),
            (None, BESIDE_DEFAULT),
        ):
            rtts["now"] = rtt_us
            assert accepted_control(choice, listening) == control


@pytest.mark.skipif(not other_controls(), reason="the kernel has only reno")
@pytest.mark.usefixtures("paces_with_reno")
def test_what_a_route_of_the_machine_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "min_rtt_us", lambda _: 80_000)
    with create_listening(BESIDE_DEFAULT) as listening:
        choice = Congestion(AUTO)
        choice.listen(listening)
        ours, theirs = accept(listening)
        with ours, theirs:
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, BESIDE_DEFAULT.encode())
            monkeypatch.setattr(choice, "_system", other_controls()[0])
            choice.settle(theirs)
            assert control_of(theirs) == BESIDE_DEFAULT


def test_without_timers_nothing_is_chosen(listening: socket.socket) -> None:
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, BESIDE_DEFAULT.encode())
    choice = Congestion(AUTO)
    choice.listen(listening)
    assert accepted_control(choice, listening) == str(choice) == BESIDE_DEFAULT
    assert choice.is_auto


def test_the_round_trip_of_loopback_is_known_before_anything_is_sent(
    listening: socket.socket,
) -> None:
    ours, theirs = accept(listening)
    with ours, theirs:
        assert min_rtt_us(theirs) is not None


def test_what_is_no_tcp_has_none(listening: socket.socket) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert (control_of(one), min_rtt_us(one)) == ("", None)
        choice = Congestion(AUTO)
        choice.listen(one)
        choice.settle(other)
        choice.note(other)
        assert choice.paced([one]) == PacedSending()


@pytest.mark.parametrize("wanted", [SYSTEM, AUTO, BESIDE_DEFAULT])
def test_everybody_may_have_what_everybody_has(wanted: str) -> None:
    with somebody():
        assert obstacle_to(wanted) == ""


def test_what_the_kernel_does_not_know_is_refused_with_what_it_knows() -> None:
    with somebody():
        permitted = permitted_controls()
        assert BESIDE_DEFAULT in permitted
        assert obstacle_to("nobody-has-this") == (
            "this kernel does not know it, or has not loaded its module; "
            f"it may set {', '.join(permitted)}"
        )


def test_what_only_root_may_set_is_refused_to_others() -> None:
    here = "/proc/sys/net/ipv4/tcp_{}_congestion_control"
    available, allowed = (
        set(Path(here.format(which)).read_text().split()) for which in ("available", "allowed")
    )
    with somebody():
        assert set(permitted_controls()) == allowed & available
        for name in available - allowed:
            assert obstacle_to(name).startswith("this user may not set it; it may set ")
        assert short_control() in allowed


def test_without_a_descriptor_to_try_it_that_is_the_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    assert obstacle_to(BESIDE_DEFAULT) == "Too many open files; it may set none"
    assert (permitted_controls(), short_control()) == ((), "")


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_what_the_kernel_says_of_a_connection_is_in_its_own_byte_order(
    monkeypatch: pytest.MonkeyPatch, byte_order: Literal["little", "big"]
) -> None:
    info = bytes(120) + (MIB).to_bytes(8, byte_order) + bytes(20) + (70).to_bytes(4, byte_order)
    monkeypatch.setattr(sys, "byteorder", byte_order)
    monkeypatch.setattr(congestion, "_tcp_info", lambda _: info)
    monkeypatch.setattr(congestion, "_MUCH_BYTES", MIB)
    monkeypatch.setattr(congestion, "control_of", lambda _: "bbr2")
    with socket.socket() as connection:
        assert min_rtt_us(connection) == 70
        assert Congestion().paced([connection]) == PacedSending("bbr2", 1, MIB, 70)


def test_a_kernel_that_names_none_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "_AVAILABLE", "/proc/nobody-has-this")
    assert permitted_controls() == ()
    assert obstacle_to("nobody-has-this").endswith("it may set none")
    assert obstacle_to(BESIDE_DEFAULT) == ""


def send(theirs: socket.socket, ours: socket.socket, size_bytes: int) -> None:
    """Send so much, and wait until all of it is acknowledged."""

    def take() -> None:
        left = size_bytes + 1
        while left:
            left -= len(ours.recv(MIB))
        ours.sendall(b"!")

    taking = threading.Thread(target=take)
    taking.start()
    theirs.sendall(bytes(size_bytes + 1))
    assert theirs.recv(1) == b"!"
    taking.join()


def test_what_timers_paced_over_short_paths_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "_PACING", BESIDE_DEFAULT)
    monkeypatch.setattr(congestion, "_MUCH_BYTES", MIB)
    monkeypatch.setattr(congestion, "min_rtt_us", lambda _: 70)
    with create_listening() as listening:
        choice = Congestion(BESIDE_DEFAULT)
        choice.listen(listening)
        (ours, theirs), (little_ours, little) = accept(listening), accept(listening)
        with ours, theirs, little_ours, little:
            send(theirs, ours, 2 * MIB)
            send(little, little_ours, 1)
            one = choice.paced([theirs, little])
            assert (one.control, one.connections, one.rtt_us_max) == (BESIDE_DEFAULT, 1, 70)
            assert 2 * MIB <= one.size_bytes <= 2 * MIB + 1
            choice.note(theirs)
            choice.note(little)
            assert choice.paced([]) == one
            assert choice.paced([theirs]).connections == 2
            monkeypatch.setattr(congestion, "min_rtt_us", lambda _: SHORT_RTT_US)
            assert choice.paced([theirs]) == one
            choice.change(SYSTEM)
            assert choice.paced([]) == PacedSending()
