"""Entries, and the addresses that their names have."""

from __future__ import annotations

from ckptd.core.peers.addresses import PeerEntry, address_of, by_address
from ckptd.model.addresses import format_address
from ckptd.model.ids import NodeId

X, Y, Z = ("10.0.0.1", 7), ("10.0.0.2", 7), ("fd00::3", 7)


def entry(*addresses: tuple[str, int], name: str = "svc:7") -> PeerEntry:
    return PeerEntry(name, ("svc", 7), is_name=True, addresses=addresses)


def test_an_address_that_is_not_among_them_any_more_counts_once_more_if_it_answers() -> None:
    svc = entry(X, Y)
    svc.failures, svc.last_error = 3, "silence"
    svc.take((Z,), {X})
    assert (svc.addresses, svc.missing) == ((Z, X), frozenset({X}))
    assert (svc.failures, svc.last_error, svc.is_looked_up) == (0, "", True)
    svc.take((Z,), {X})
    assert (svc.addresses, svc.missing) == ((Z,), frozenset())


def test_an_address_that_returns_in_time_is_not_missing() -> None:
    svc = entry(X, Y)
    svc.take((Y,), {X, Y})
    svc.take((X, Y), {X, Y})
    assert (svc.addresses, svc.missing) == ((X, Y), frozenset())


def test_several_entries_may_lead_to_one_address() -> None:
    first, second = entry(X, Y), entry(Y, name="other:7")
    assert by_address([first, second]) == {X: [first], Y: [first, second]}


def test_what_is_known_of_an_address_stays_unless_another_node_must_be_there() -> None:
    svc = entry(X, Y)
    known = address_of(X, [svc], None)
    assert (known.name, known.origin) == ("svc:7 (10.0.0.1)", "svc:7 at 10.0.0.1")
    other = entry(X, name="other:7")
    assert address_of(X, [other], known) is known
    assert known.name == "other:7 (10.0.0.1)"
    assert known.origin == "svc:7 at 10.0.0.1", "what it did is not forgotten for that"
    other.pinned = NodeId("b")
    assert address_of(X, [svc, other], known).pinned == "b"
    assert address_of(X, [svc, other], known) is not known


def test_a_numeric_entry_is_called_as_it_is_configured() -> None:
    numeric = PeerEntry("10.0.0.1:7", X, addresses=(X,))
    assert address_of(X, [numeric], None).name == "10.0.0.1:7"


def test_addresses_are_written_as_people_do() -> None:
    assert [format_address(*each) for each in (X, Z)] == ["10.0.0.1:7", "[fd00::3]:7"]
