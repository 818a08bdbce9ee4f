"""What the kernel is told of a connection, read back from it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from ckptd.limits import GIB, KIB, MIB
from ckptd.model.words import Urgency
from ckptd.net.connection.marking import DSCP, bound_window, mark, pace_sending


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def connection(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = request.param
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as connected,
    ):
        yield connected


@pytest.mark.parametrize("urgency", Urgency)
def test_each_class_has_a_mark_and_a_bound_on_what_lies_unsent(
    urgency: Urgency, connection: socket.socket
) -> None:
    mark(connection, urgency)
    level, option = (
        (socket.IPPROTO_IP, socket.IP_TOS)
        if connection.family is socket.AF_INET
        else (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
    )
    assert connection.getsockopt(level, option) >> 2 == DSCP[urgency]
    unsent = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert unsent == [0, MIB, 128 * KIB, 128 * KIB][urgency]


def test_code_points_grow_with_what_can_be_asked_of_the_network() -> None:
    """AF21 before the default; CS1 and LE are below it: RFC 4594, RFC 3662, RFC 8622."""
    assert [DSCP[urgency] for urgency in Urgency] == [18, 0, 8, 1]


def test_a_connection_is_paced_and_not_any_more(connection: socket.socket) -> None:
    pace_sending(connection, 8 * MIB)
    assert connection.getsockopt(socket.SOL_SOCKET, 47) == 10 * MIB
    for rate in (GIB, None):
        pace_sending(connection, rate)
        assert connection.getsockopt(socket.SOL_SOCKET, 47) % 2**32 == 2**32 - 1


def test_a_limit_bounds_what_is_sent_ahead_and_is_lifted(connection: socket.socket) -> None:
    def buffer_bytes() -> int:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    segment = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    bound_window(connection, 128 * KIB)
    low = buffer_bytes()
    assert low <= 4 * segment  # the kernel doubles it
    bound_window(connection, GIB)
    assert buffer_bytes() > low
    bound_window(connection, MIB)
    bound_window(connection, None)
    assert buffer_bytes() >= 128 * KIB


def test_only_a_rate_that_timers_can_keep_is_paced(connection: socket.socket) -> None:
    pace_sending(connection, 128 * MIB)
    assert connection.getsockopt(socket.SOL_SOCKET, 47) == 160 * MIB
    pace_sending(connection, 128 * MIB + 1)
    assert connection.getsockopt(socket.SOL_SOCKET, 47) % 2**32 == 2**32 - 1


@pytest.mark.parametrize("rate_bytes_per_s", [128 * KIB, 6 * MIB, 8 * MIB])
def test_a_window_is_what_comes_in_ten_milliseconds_and_two_round_trips(
    connection: socket.socket, rate_bytes_per_s: int
) -> None:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 72)
    round_trip_ns = int.from_bytes(info[68:72], sys.byteorder) * 1000
    segment_bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    ahead_bytes = rate_bytes_per_s * (10_000_000 + 2 * round_trip_ns) // 1_000_000_000
    bound_window(connection, rate_bytes_per_s)
    doubled = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert doubled == 2 * max(ahead_bytes, 2 * segment_bytes)


def test_the_round_trip_is_in_the_byte_order_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Answering:
        """A connection on a machine of the other byte order."""

        def __init__(self) -> None:
            self.window_bytes = 0

        def getsockopt(self, _: int, option: int, length: int = 0) -> bytes | int:
            is_info = option == socket.TCP_INFO
            return bytes(length - 4) + (50_000).to_bytes(4, "big") if is_info else 1448

        def setsockopt(self, _: int, option: int, value: int) -> None:
            if option == socket.SO_RCVBUF:
                self.window_bytes = value

    monkeypatch.setattr(sys, "byteorder", "big")
    connection = Answering()
    bound_window(connection, MIB)  # type: ignore[arg-type]
    assert connection.window_bytes == MIB * 110 // 1000
