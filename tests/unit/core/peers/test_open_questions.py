"""Who has a place, where there are fewer than addresses."""

from __future__ import annotations

from random import Random

from ckptd.core.peers.open_questions import OpenQuestions


def test_who_has_a_place_keeps_it_until_somebody_else_draws_it() -> None:
    places = OpenQuestions(Random(1))
    hosts = [(f"h{number}", 1) for number in range(40)]
    assert all(places.has_place(host, 10, among=40) for host in hosts[:10])
    drawn = sum(places.has_place(host, 10, among=40) for host in hosts[10:])
    assert 3 <= drawn <= 15, "about a quarter of them"
    assert len(places._places) == 10


def test_a_place_that_is_left_is_free() -> None:
    places = OpenQuestions(Random(1))
    assert places.has_place(("a", 1), 1, among=1000)
    places.leave(("a", 1))
    places.leave(("a", 1))
    assert places.has_place(("b", 1), 1, among=1000)
