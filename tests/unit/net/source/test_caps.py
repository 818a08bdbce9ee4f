"""Who may stay connected, without a network: sockets only name connections here."""

import socket
from collections.abc import Iterator

import pytest

from ckptd.model.ids import NodeId
from ckptd.model.words import RefusalReason
from ckptd.net.source.caps import ConnectionCaps


class Visitors:
    """Connections that come, and what becomes of them."""

    def __init__(self) -> None:
        self.caps = ConnectionCaps(
            connections_max=6,
            per_address_max=3,
            per_node_max=2,
            unproven_max=4,
            refused_max=2,
            clock=lambda: self.now_s,
        )
        self.cut: list[str] = []
        self.gone: list[str] = []
        self.now_s = 0.0
        self._sockets: dict[str, socket.socket] = {}

    def come(self, name: str, address: str) -> bool:
        connection = self._sockets[name] = socket.socket()
        return self.caps.enter(connection, address, lambda: self.cut.append(name))

    def turn_away(self, name: str, address: str) -> RefusalReason | None:
        return self.caps.turn_away(self._sockets[name], address, lambda: self.cut.append(name))

    def refusal_of(self, name: str) -> RefusalReason | None:
        return self.caps.refusal_of(self._sockets[name])

    def rest(self, name: str) -> None:
        self.caps.rest(self._sockets[name], lambda: self.gone.append(name))

    def work(self, name: str) -> None:
        self.caps.work(self._sockets[name])

    def be_idle(self, name: str, address: str) -> None:
        """Let a connection come, ask something, and wait."""
        assert self.come(name, address)
        self.prove(name)
        self.rest(name)
        self.now_s += 1

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
    visitors = Visitors()
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


# Idle ones give way


def test_of_an_address_with_its_share_the_one_that_is_idle_for_longest_gives_way(
    visitors: Visitors,
) -> None:
    for name in ("first", "second", "third"):
        visitors.be_idle(name, "10.0.0.1")
    visitors.work("first")
    assert visitors.come("fourth", "10.0.0.1")
    assert (visitors.gone, visitors.cut) == (["second"], [])
    assert visitors.caps.refusals == {RefusalReason.IDLE: 1}
    visitors.rest("second")  # it ends, and does not know that it is gone already
    visitors.leave("second")
    assert visitors.caps.connection_count == 3


def test_who_is_unproven_makes_room_before_who_is_idle(visitors: Visitors) -> None:
    visitors.be_idle("idle", "10.0.0.1")
    assert visitors.come("new", "10.0.0.1")
    assert visitors.come("newer", "10.0.0.1")
    assert visitors.come("newest", "10.0.0.1")
    assert (visitors.gone, visitors.cut) == ([], ["new"])


def test_an_idle_one_of_another_address_does_not_give_way_for_a_share(visitors: Visitors) -> None:
    visitors.be_idle("other", "10.0.0.2")
    for name in ("first", "second", "third"):
        visitors.be_idle(name, "10.0.0.1")
        visitors.work(name)
    assert not visitors.come("fourth", "10.0.0.1")
    assert visitors.gone == []


def test_when_all_are_taken_the_address_with_most_idle_ones_gives_way(visitors: Visitors) -> None:
    visitors.be_idle("single", "10.0.0.1")
    for number in range(3):
        visitors.be_idle(f"crowd {number}", "10.0.0.2")
    for number in range(2):
        visitors.be_idle(f"busy {number}", "10.0.0.3")
        visitors.work(f"busy {number}")
    assert visitors.come("late", "10.0.0.4")
    assert visitors.gone == ["crowd 0"]


def test_who_asked_just_now_does_not_give_way(visitors: Visitors) -> None:
    for name in ("first", "second", "third"):
        assert visitors.come(name, "10.0.0.1")
        visitors.prove(name)
        visitors.rest(name)
    visitors.now_s = 0.4
    assert not visitors.come("fourth", "10.0.0.1")
    visitors.now_s = 0.5
    assert visitors.come("fifth", "10.0.0.1")


# Nodes behind one address


def test_proven_nodes_behind_one_address_do_not_share_its_places(visitors: Visitors) -> None:
    for node in "abcde":
        assert visitors.come(node, "10.0.0.1")
        assert visitors.identify(node, node)
        visitors.prove(node)
    assert visitors.caps.refusals == {}
    visitors.leave("a")
    assert visitors.come("again", "10.0.0.1")


def test_of_a_node_with_its_share_an_idle_connection_gives_way(visitors: Visitors) -> None:
    for name in ("first", "second"):
        assert visitors.come(name, "10.0.0.1")
        assert visitors.identify(name, "a")
        visitors.prove(name)
    visitors.rest("second")
    visitors.now_s = 1
    assert visitors.come("third", "10.0.0.2")
    assert visitors.identify("third", "a")
    assert visitors.gone == ["second"]


# Whoever finds no place


def test_who_finds_no_place_is_kept_for_the_answer_and_takes_none(visitors: Visitors) -> None:
    for name in ("first", "second", "third"):
        assert visitors.come(name, "10.0.0.1")
        visitors.prove(name)
    assert not visitors.come("fourth", "10.0.0.1")
    assert visitors.turn_away("fourth", "10.0.0.1") is RefusalReason.ADDRESS
    assert visitors.refusal_of("fourth") is RefusalReason.ADDRESS
    assert visitors.refusal_of("first") is None
    assert visitors.caps.connection_count == 3
    visitors.leave("fourth")
    assert visitors.refusal_of("fourth") is None


def test_not_more_than_some_are_answered_at_the_same_time(visitors: Visitors) -> None:
    for name in ("first", "second", "third"):
        assert visitors.come(name, "10.0.0.1")
        visitors.prove(name)
    for name in ("fourth", "fifth"):
        assert not visitors.come(name, "10.0.0.1")
        assert visitors.turn_away(name, "10.0.0.1")
    assert not visitors.come("sixth", "10.0.0.1")
    assert visitors.turn_away("sixth", "10.0.0.1") is None
    visitors.leave("fourth")
    assert visitors.turn_away("sixth", "10.0.0.1")
