"""Each check of the books of a fleet bites, shown what it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.limits import GIB
from ckptd.model.words import Criticality
from ckptd.sim.fleet.books import Books, FleetCheckFailed
from ckptd.sim.fleet.fleet import saved_of
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Held, Member, Pulling, Saved
from tests.support.steady_fleets import steady_fleet


class Bench:
    """Four nodes in two zones, of which the first has a version that its job saved.

    Attributes:
        books: What is tested.
        members: All nodes.
        saved: The version, of which two copies are asked for.
    """

    def __init__(self) -> None:
        self.plan = steady_fleet(nodes=4, zones=2, names=1)
        self.books = Books()
        self.ground = Ground(self.plan, [self.books])
        self.members: list[Member] = list(self.ground.members.values())
        for member in self.members:
            member.is_up = True
        self.saved: Saved = saved_of(self.plan.saves[0], 0)
        self.put(0, is_copy=False)
        self.books.saved(self.members[0], self.saved)

    def put(self, index: int, *, is_copy: bool = True) -> Member:
        """Let a node have the version."""
        member = self.members[index]
        member.shelf[self.saved.digest] = Held(self.saved, Criticality.DEFERRED, is_copy)
        return member

    def fetch(self, index: int) -> None:
        """Let a node begin to fetch it."""
        wanted = dict(self.saved.sizes)
        pulling = Pulling(self.saved, Criticality.DEFERRED, wanted)
        self.members[index].pulls[self.saved.digest] = pulling
        self.books.pulling(self.members[index], pulling)

    def lose(self, index: int) -> None:
        """Let a node lose everything."""
        member = self.members[index]
        self.books.went(member)
        member.is_up = False
        member.shelf.clear()
        self.books.wiped(member)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_listed_and_fits_may_be_fetched(bench: Bench) -> None:
    bench.fetch(1)


def test_nothing_moves_that_is_not_listed(bench: Bench) -> None:
    bench.members[1].plan = replace(bench.members[1].plan, lists=("evals/*",))
    with pytest.raises(FleetCheckFailed, match="does not list"):
        bench.fetch(1)


def test_a_quota_is_kept(bench: Bench) -> None:
    bench.members[1].plan = replace(bench.members[1].plan, quota_bytes=GIB - 1)
    with pytest.raises(FleetCheckFailed, match="quota"):
        bench.fetch(1)


def test_a_tenth_of_the_disk_stays_free(bench: Bench) -> None:
    bench.members[1].plan = replace(bench.members[1].plan, disk_bytes=GIB + GIB // 16)
    with pytest.raises(FleetCheckFailed, match="fills its disk"):
        bench.fetch(1)


def test_a_third_copy_may_go(bench: Bench) -> None:
    bench.put(1)
    bench.books.gave_back(bench.put(2), bench.saved)


def test_a_second_copy_may_not_go(bench: Bench) -> None:
    with pytest.raises(FleetCheckFailed, match="1 others have"):
        bench.books.gave_back(bench.put(1), bench.saved)


def test_a_copy_may_not_go_that_is_the_only_one_of_its_zone(bench: Bench) -> None:
    bench.put(2)
    with pytest.raises(FleetCheckFailed, match="fewer zones"):
        bench.books.gave_back(bench.put(1), bench.saved)


def test_what_a_job_saved_may_not_go(bench: Bench) -> None:
    bench.put(1)
    bench.put(2)
    with pytest.raises(FleetCheckFailed, match="a job saved"):
        bench.books.gave_back(bench.members[0], bench.saved)


def test_a_version_that_was_safe_is_not_lost_with_one_zone(bench: Bench) -> None:
    bench.books.pulled(bench.put(1), bench.saved, Criticality.DEFERRED)
    bench.lose(0)
    del bench.members[1].shelf[bench.saved.digest]
    with pytest.raises(FleetCheckFailed, match="is lost"):
        bench.books.removed(bench.members[1], bench.saved)


def test_a_version_may_be_lost_with_all_zones_that_it_was_in(bench: Bench) -> None:
    bench.books.pulled(bench.put(1), bench.saved, Criticality.DEFERRED)
    bench.lose(0)
    bench.lose(1)


def test_a_version_may_be_lost_that_was_never_safe(bench: Bench) -> None:
    bench.lose(0)
