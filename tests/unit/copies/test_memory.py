from __future__ import annotations

from ckptd.copies.memory import Memory
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from tests.support.fleets import digest_of

NODE = NodeId("b")
DIGEST = digest_of("llama", 7)


def test_patience_begins_again_when_there_is_more() -> None:
    memory = Memory()
    assert memory.came(DIGEST, NODE, 5, 10).since_ns == 10
    memory.begin()
    assert memory.came(DIGEST, NODE, 5, 20).since_ns == 10
    memory.begin()
    assert memory.came(DIGEST, NODE, 6, 30).since_ns == 30


def test_what_is_not_looked_at_is_forgotten() -> None:
    memory = Memory()
    memory.came(DIGEST, NODE, 5, 10)
    memory.begin()
    assert memory.look_at(DIGEST, NODE) is not None
    memory.begin()
    memory.begin()
    assert memory.look_at(DIGEST, NODE) is None
    assert not memory.asked(DIGEST)


def test_who_is_chosen_for_more_is_given_time_for_it() -> None:
    memory = Memory()
    for now, least, since in (
        (10, Criticality.CRITICAL, 10),
        (20, Criticality.CRITICAL, 10),
        (30, Criticality.DEFERRED, 30),
    ):
        memory.begin()
        memory.choose(DIGEST, NODE, least, 0, now)
        found = memory.look_at(DIGEST, NODE)
        assert found is not None
        assert (found.since_ns, found.chosen) == (since, least)


def test_a_surplus_begins_again_when_the_others_are_not_the_same() -> None:
    memory = Memory()
    some = frozenset({(NODE, Criticality.CRITICAL)})
    more = frozenset({(NODE, Criticality.DEFERRED)})
    assert memory.surplus_of(DIGEST, some, 1) == 1
    memory.begin()
    assert memory.surplus_of(DIGEST, some, 2) == 1
    memory.begin()
    assert memory.surplus_of(DIGEST, more, 3) == 3
    memory.begin()
    memory.begin()
    assert memory.surplus_of(DIGEST, more, 4) == 4
