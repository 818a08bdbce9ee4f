"""Names of paths, and which of them lead to a node."""

from __future__ import annotations

from ckptd.core.peers.paths import PathEnd, Paths
from ckptd.model.ids import Epoch, NodeId

B, C, E = NodeId("b"), NodeId("c"), Epoch(1)


def test_the_first_path_has_the_name_of_the_node_and_keeps_it_while_it_is_closed() -> None:
    paths = Paths(lambda _: True)
    assert paths.open(("x", 1), B, E) == "b"
    assert paths.open(("y", 1), B, E) == "b via y:1"
    assert paths.close(("x", 1)) == "b"
    assert paths.open(("z", 1), B, E) == "b via z:1"
    assert paths.open(("x", 1), B, E) == "b"


def test_a_path_leads_somewhere_while_it_is_open() -> None:
    paths = Paths(lambda _: True)
    path = paths.open(("x", 1), B, E)
    assert paths.end_of(path) == PathEnd(B, ("x", 1))
    paths.close(("x", 1))
    assert paths.end_of(path) is None


def test_a_forgotten_address_lets_another_have_the_name() -> None:
    paths = Paths(lambda _: True)
    paths.open(("x", 1), B, E)
    paths.open(("y", 1), B, E)
    for host in ("x", "y"):
        paths.close((host, 1))
    paths.forget(("y", 1))
    assert paths.open(("z", 1), B, E) == "b via z:1", "x keeps it"
    paths.forget(("x", 1))
    paths.forget(("x", 1))
    assert paths.open(("y", 1), B, E) == "b"


def test_an_address_at_which_another_node_answers_lets_another_have_the_name() -> None:
    paths = Paths(lambda _: True)
    paths.open(("x", 1), B, E)
    paths.close(("x", 1))
    assert paths.open(("x", 1), C, E) == "c"
    assert paths.open(("y", 1), B, E) == "b"
    assert paths.open(("z", 1), C, E) == "c via z:1"


def test_a_twin_answers_elsewhere_in_another_epoch() -> None:
    paths = Paths(lambda _: True)
    assert paths.twins_of(("x", 1), B, E) == []
    paths.open(("x", 1), B, E)
    assert paths.twins_of(("x", 1), B, Epoch(2)) == [], "it was started again"
    assert paths.twins_of(("y", 1), B, E) == [], "it is the same daemon"
    assert paths.twins_of(("y", 1), C, Epoch(2)) == []
    assert paths.twins_of(("y", 1), B, Epoch(2)) == [("x", 1)]
    paths.close(("x", 1))
    assert paths.twins_of(("y", 1), B, Epoch(2)) == []


def test_an_address_that_had_the_name_in_an_earlier_life_gets_it_again_while_it_is_wanted() -> None:
    for is_wanted in (True, False):
        paths = Paths(lambda _, is_wanted=is_wanted: is_wanted)  # type: ignore[misc]
        paths.keep(B, "y:1")
        assert (paths.open(("x", 1), B, E) == "b") is not is_wanted
        assert (paths.open(("y", 1), B, E) == "b") is is_wanted


def test_it_is_known_where_a_path_led() -> None:
    paths = Paths(lambda _: True)
    first, further = (paths.open((host, 1), B, E) for host in ("x", "y"))
    paths.close(("y", 1))
    assert [paths.address_of(path) for path in (first, further)] == ["x:1", "y:1"]
    paths.forget(("y", 1))
    assert paths.address_of(further) == ""
