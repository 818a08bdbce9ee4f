"""Names of paths, and which of them lead to a node."""

from __future__ import annotations

from ckptd.core.peers.paths import PathEnd, Paths
from ckptd.model.ids import Epoch, NodeId

B, C, E = NodeId("b"), NodeId("c"), Epoch(1)


def test_the_first_path_has_the_name_of_the_node_and_keeps_it_while_it_is_closed() -> None:
    paths = Paths(lambda name: True)
    assert paths.open("b@x:1", ("x", 1), B, E) == "b"
    assert paths.open("b@y:1", ("y", 1), B, E) == "b via y:1"
    assert paths.close("b@x:1") == "b"
    assert paths.open("z:1", ("z", 1), B, E) == "b via z:1"
    assert paths.open("b@x:1", ("x", 1), B, E) == "b"


def test_a_path_leads_somewhere_while_it_is_open() -> None:
    paths = Paths(lambda name: True)
    path = paths.open("x:1", ("x", 1), B, E)
    assert paths.end_of(path) == PathEnd(B, ("x", 1))
    paths.close("x:1")
    assert paths.end_of(path) is None


def test_a_forgotten_address_lets_another_have_the_name() -> None:
    paths = Paths(lambda name: True)
    paths.open("x:1", ("x", 1), B, E)
    paths.open("y:1", ("y", 1), B, E)
    for name in ("x:1", "y:1"):
        paths.close(name)
    paths.forget("y:1")
    assert paths.open("z:1", ("z", 1), B, E) == "b via z:1", "x keeps it"
    paths.forget("x:1")
    paths.forget("x:1")
    assert paths.open("y:1", ("y", 1), B, E) == "b"


def test_an_address_at_which_another_node_answers_lets_another_have_the_name() -> None:
    paths = Paths(lambda name: True)
    paths.open("x:1", ("x", 1), B, E)
    paths.close("x:1")
    assert paths.open("x:1", ("x", 1), C, E) == "c"
    assert paths.open("y:1", ("y", 1), B, E) == "b"
    assert paths.open("z:1", ("z", 1), C, E) == "c via z:1"


def test_a_twin_answers_elsewhere_in_another_epoch() -> None:
    paths = Paths(lambda name: True)
    assert paths.twin_at("x:1", B, E) is None
    paths.open("x:1", ("x", 1), B, E)
    assert paths.twin_at("x:1", B, Epoch(2)) is None, "it was started again"
    assert paths.twin_at("y:1", B, E) is None, "it is the same daemon"
    assert paths.twin_at("y:1", C, Epoch(2)) is None
    assert paths.twin_at("y:1", B, Epoch(2)) == "x:1"
    paths.close("x:1")
    assert paths.twin_at("y:1", B, Epoch(2)) is None


def test_an_address_that_had_the_name_in_an_earlier_life_gets_it_again_while_it_is_listed() -> None:
    for is_listed in (True, False):
        paths = Paths(lambda name, is_listed=is_listed: is_listed)  # type: ignore[misc]
        paths.keep(B, "b@y:1")
        assert (paths.open("b@x:1", ("x", 1), B, E) == "b") is not is_listed
        assert (paths.open("b@y:1", ("y", 1), B, E) == "b") is is_listed


def test_it_is_known_where_a_path_led() -> None:
    paths = Paths(lambda name: True)
    first, further = (paths.open(name, (name, 1), B, E) for name in ("b@x:1", "y:1"))
    paths.close("y:1")
    assert [paths.address_of(path) for path in (first, further)] == ["b@x:1", "y:1"]
    paths.forget("y:1")
    assert paths.address_of(further) == ""
