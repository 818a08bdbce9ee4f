"""Who may stay connected, without a network: sockets only name connections here."""

import socket
from collections.abc import Iterator

import pytest

from ckptd.model.ids import NodeId
from ckptd.model.words import RefusalReason
from ckptd.net.source.caps import ConnectionCaps


class Visitors:
    """Connections that come to an caps."""

    def __init__(self, caps: ConnectionCaps) -> None:
        self.caps = caps
        self.cut: list[str] = []
        self._sockets: dict[str, socket.socket] = {}

    def come(self, name: str, address: str) -> bool:
        connection = self._sockets[name] = socket.socket()
        return self.caps.enter(connection, address, lambda: self.cut.append(name))

    def prove(self, name: str) -> None:
        self.caps.prove(self._sockets[name])

    def identify(self, name: str, node: str) -> bool:
        return self.caps.identify(self._sockets[name], NodeId(node))

    def leave(self, name: str) -> None:
        self.caps.leave(self._sockets[name])

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()


@pytest.fixture
def visitors() -> Iterator[Visitors]:
    visitors = Visitors(
        ConnectionCaps(connections_max=6, per_address_max=3, per_node_max=2, unproven_max=4)
    )
    yield visitors
    visitors.close()


def test_the_oldest_of_the_largest_crowd_makes_room(visitors: Visitors) -> None:
    assert visitors.come("honest", "10.0.0.1")
    assert all(visitors.come(f"crowd {number}", "10.0.0.2") for number in range(3))
    assert visitors.come("late", "10.0.0.3")
    assert visitors.cut == ["crowd 0"]
    assert visitors.caps.unproven_count == 4
    assert visitors.caps.refusals == {RefusalReason.UNPROVEN: 1}


def test_connections_in_use_are_not_cut_for_others(visitors: Visitors) -> None:
    for number in range(6):
        assert visitors.come(f"in use {number}", f"10.0.0.{number}")
        visitors.prove(f"in use {number}")
    assert not visitors.come("late", "10.0.0.9")
    assert visitors.cut == []
    assert visitors.caps.refusals == {RefusalReason.CONNECTIONS: 1}


def test_an_address_takes_no_more_than_its_share(visitors: Visitors) -> None:
    for number in range(3):
        assert visitors.come(f"first {number}", "10.0.0.1")
        visitors.prove(f"first {number}")
    assert not visitors.come("fourth", "10.0.0.1")
    assert visitors.come("other", "10.0.0.2")
    assert visitors.caps.refusals == {RefusalReason.ADDRESS: 1}


def test_an_address_makes_room_for_its_own_newest_connection(visitors: Visitors) -> None:
    assert all(visitors.come(f"idle {number}", "10.0.0.1") for number in range(3))
    assert visitors.come("next", "10.0.0.1")
    assert visitors.cut == ["idle 0"]


def test_when_all_are_taken_an_unproven_one_makes_room(visitors: Visitors) -> None:
    for number in range(5):
        assert visitors.come(f"in use {number}", f"10.0.0.{number}")
        visitors.prove(f"in use {number}")
    assert visitors.come("idle", "10.0.0.8")
    assert visitors.come("late", "10.0.0.9")
    assert visitors.cut == ["idle"]
    assert visitors.caps.connection_count == 6


def test_a_node_takes_no_more_than_its_share_whatever_its_addresses(visitors: Visitors) -> None:
    assert all(visitors.come(str(number), f"10.0.0.{number}") for number in range(4))
    assert visitors.identify("0", "a")
    assert visitors.identify("1", "a")
    assert not visitors.identify("2", "a")
    assert visitors.identify("3", "b")
    assert visitors.cut == []
    assert visitors.caps.refusals == {RefusalReason.NODE: 1}
    visitors.leave("2")
    visitors.leave("0")
    assert visitors.come("again", "10.0.0.8")
    assert visitors.identify("again", "a")


def test_a_connection_that_was_cut_meanwhile_is_nobodys(visitors: Visitors) -> None:
    assert visitors.come("slow", "10.0.0.1")
    visitors.leave("slow")
    assert not visitors.identify("slow", "a")
    assert not visitors.caps._per_node


def test_whoever_leaves_makes_room_once(visitors: Visitors) -> None:
    assert all(visitors.come(f"first {number}", "10.0.0.1") for number in range(3))
    visitors.leave("first 0")
    visitors.leave("first 0")
    assert visitors.come("next", "10.0.0.1")
    assert visitors.cut == []
    assert visitors.caps.connection_count == 3


def test_any_number_of_strangers_leaves_no_trace(visitors: Visitors) -> None:
    for number in range(200):
        visitors.come(str(number), f"10.0.{number}.1")
        visitors.identify(str(number), f"node-{number}")
        visitors.leave(str(number))
    caps = visitors.caps
    assert (caps.connection_count, caps.unproven_count) == (0, 0)
    assert not caps._per_address
    assert not caps._per_node
    assert not caps._crowds
