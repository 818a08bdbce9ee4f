"""Which copies are begun and ended, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.copies.decided import Pull
from ckptd.copies.fleet import FleetVersion, FleetView, Room
from ckptd.core.events import Event, RecoveryCancelled
from ckptd.daemon.copying.pulling import AT_ONCE_MAX, Pulling
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.copying.wanted import CopyWanted
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, NotFound
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.unit_choice import Choice
from ckptd.model.words import CopiedBecause, Criticality, PlaceState, Result, Stage
from ckptd.store.published.catalog import Catalog

SIZE = 100


def pull(name: str = "llama", version: int = 1, least: Criticality = Criticality.DEFERRED) -> Pull:
    digest = Digest(f"{sum(name.encode()) * 1000 + version:064x}")
    return Pull(CheckpointName(name), Version(version), digest, least, CopiedBecause.MISSING)


class Recoveries:
    """Recoveries, of which copies are begun; each ends when a test says so."""

    def __init__(self) -> None:
        self.under_way: dict[RecoveryId, Any] = {}
        self.results: dict[str, Any] = {}
        self.begun: list[CopyWanted] = []
        self.cancelled: list[RecoveryId] = []
        self.stage = Stage.TRANSFERRING
        self.refusal: Exception | None = None
        self.runtime = SimpleNamespace(report=self._report)
        self.scheduler = SimpleNamespace(stages=lambda: dict.fromkeys(self.under_way, self.stage))
        self.book = self
        self.held: dict[Digest, PlaceState] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.under_way.values()))

    def get(self, recovery: RecoveryId) -> object:
        return self.under_way.get(recovery)

    def result(self, recovery: str) -> object:
        if recovery not in self.results:
            raise NotFound(recovery, "is not known")
        return self.results[recovery]

    def snapshots(self) -> Sequence[object]:
        return ()

    async def begin(self, wanted: CopyWanted) -> RecoveryId:
        if self.refusal is not None:
            raise self.refusal
        self.begun.append(wanted)
        return self.add(wanted.checkpoint, wanted.digest)

    def add(self, name: str, digest: str, *, root: str = "copies", **record: object) -> RecoveryId:
        """Have a recovery under way."""
        recovery = RecoveryId(f"r-{len(self.under_way) + len(self.results)}")
        facts = {"is_background": True, "is_repair": False, "version": 1} | record
        self.under_way[recovery] = SimpleNamespace(
            id=recovery,
            root=SimpleNamespace(name=root),
            target=name,
            staging=None,
            record=SimpleNamespace(checkpoint=name, digest_prefix=digest, **facts),
        )
        return recovery

    def end(self, recovery: RecoveryId, result: Result = Result.COMPLETE) -> None:
        del self.under_way[recovery]
        self.results[recovery] = SimpleNamespace(result=result, message="why", received_bytes=5)

    def _report(self, event: Event) -> None:
        assert isinstance(event, RecoveryCancelled)
        self.cancelled.append(event.recovery)
        self.end(event.recovery, Result.CANCELLED)

    # The catalog.

    def at(self, root: str, directory: str) -> None:
        del root, directory

    def held_version(self, digest: Digest) -> object | None:
        state = self.held.get(digest)
        return None if state is None else SimpleNamespace(places=(SimpleNamespace(state=state),))


@pytest.fixture
def recoveries() -> Recoveries:
    return Recoveries()


@pytest.fixture
def pulling(recoveries: Recoveries) -> Pulling:
    catalog = SimpleNamespace(held=recoveries.held_version, at=recoveries.at)
    return Pulling(
        "copies",
        cast("Catalog", catalog),
        cast("Recovering", recoveries),
        recoveries.begin,
        CopyingSeen(),
    )


def view_of(pulls: Sequence[Pull], quota_bytes: int = 10_000) -> FleetView:
    sizes = {Criticality.CRITICAL: SIZE}
    versions = [
        FleetVersion(each.checkpoint, each.version, each.digest, sizes, ()) for each in pulls
    ]
    return FleetView(NodeId("a"), lambda _: None, {}, {}, versions, Room(quota_bytes))


async def follow(pulling: Pulling, *pulls: Pull, now: int = 0, quota_bytes: int = 10_000) -> None:
    await pulling.follow(pulls, view_of(pulls, quota_bytes), now=now)


async def test_a_copy_is_asked_for_with_all_that_is_as_urgent_and_exactly_that_content(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    part, whole = pull("part", least=Criticality.NORMAL), pull("whole")
    await follow(pulling, part, whole)
    assert [(each.checkpoint, each.digest) for each in recoveries.begun] == [
        ("part", part.digest),
        ("whole", whole.digest),
    ]
    assert [each.choice for each in recoveries.begun] == [
        Choice(min_criticality=Criticality.NORMAL),
        None,
    ]
    assert pulling._seen.begun == {"missing": 2}
    assert pulling._seen.under_way == 2


async def test_two_come_at_once_one_of_each_name_and_names_take_turns(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    pulls = [pull(name, version) for name in ("a", "b", "c") for version in (1, 2)]
    order = []
    for moment in range(6):
        await follow(pulling, *pulls, now=moment)
        assert len(recoveries.under_way) <= AT_ONCE_MAX
        names = [each.record.checkpoint for each in recoveries]
        assert len(set(names)) == len(names)
        first = next(iter(recoveries.under_way))
        order.append(recoveries.under_way[first].record.checkpoint)
        done = recoveries.under_way[first].record.digest_prefix
        pulls = [each for each in pulls if each.digest != done]
        recoveries.end(first)
    assert order == ["a", "b", "c", "a", "b", "c"]


async def test_what_is_decided_on_no_more_is_ended_unless_it_is_being_placed(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    await follow(pulling, pull("a"))
    recoveries.stage = Stage.PLACING
    await follow(pulling, now=1)
    await follow(pulling, now=20 * SECOND)
    assert recoveries.cancelled == []
    recoveries.stage = Stage.TRANSFERRING
    await follow(pulling, now=20 * SECOND)
    assert recoveries.cancelled == [RecoveryId("r-0")]
    await follow(pulling, now=20 * SECOND)
    assert (pulling._seen.failed, pulling._seen.problems) == (0, {})


async def test_what_is_decided_on_again_a_moment_later_goes_on(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    for moment in (0, 14, 15, 29):
        await follow(pulling, *([pull("a")] if moment in {0, 15} else []), now=moment * SECOND)
    assert recoveries.cancelled == []


async def test_before_everybody_was_asked_nothing_is_ended(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    recoveries.add("a", pull("a").digest)
    for moment in range(3):
        view = replace(view_of([]), all_asked=False)
        await pulling.follow([], view, now=moment * 20 * SECOND)
    assert recoveries.cancelled == []


async def test_what_people_and_repairs_recover_there_is_left_alone(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    recoveries.add("a", "ab" * 32, is_background=False)
    recoveries.add("b", "ab" * 4)
    recoveries.add("c", "ab" * 32, is_repair=True)
    recoveries.add("d", "ab" * 32, root="main")
    for moment in (0, 20):
        await follow(pulling, now=moment * SECOND)
    assert recoveries.cancelled == []


async def test_what_an_earlier_life_began_goes_on_and_its_end_counts(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    wanted = pull("a")
    recovery = recoveries.add("a", wanted.digest)
    await follow(pulling, wanted)
    assert recoveries.begun == []
    recoveries.end(recovery)
    await follow(pulling)
    assert (pulling._seen.made, pulling._seen.failed) == (1, 0)


@pytest.mark.parametrize("result", [Result.FAILED, Result.CANCELLED])
async def test_what_failed_is_tried_again_after_longer_and_longer_pauses(
    pulling: Pulling, recoveries: Recoveries, result: Result
) -> None:
    wanted, moments = pull("a"), []
    for second in range(40):
        count = len(recoveries.begun)
        await follow(pulling, wanted, now=second * SECOND)
        if len(recoveries.begun) > count:
            moments.append(second)
            recoveries.end(next(iter(recoveries.under_way)), result)
    # Its end is seen a second later.
    assert moments == [0, 6, 17, 38]
    assert pulling._seen.problems == {("a", 1): "why"}
    assert pulling._seen.failed == 4


async def test_what_is_refused_counts_as_failed_and_another_name_has_its_turn(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    recoveries.refusal = Conflict("target", "is taken")
    await follow(pulling, pull("a"), pull("b"))
    assert pulling._seen.failed == 2
    recoveries.refusal = None
    await follow(pulling, pull("a"), pull("c"), now=SECOND)
    assert [each.checkpoint for each in recoveries.begun] == ["c"]


async def test_a_job_that_recovers_the_checkpoint_here_goes_first(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    recoveries.add("a", "", root="main")
    await follow(pulling, pull("a"), pull("b"))
    assert [each.checkpoint for each in recoveries.begun] == ["b"]


@pytest.mark.parametrize(
    ("state", "is_begun"),
    [
        (PlaceState.UNSEEN, False),
        (PlaceState.SUSPECT, False),
        (PlaceState.WITHDRAWN, False),
        (PlaceState.CHOSEN, True),
        (PlaceState.STALE, True),
    ],
)
async def test_what_stands_here_in_doubt_or_withdrawn_is_not_brought(
    pulling: Pulling, recoveries: Recoveries, state: PlaceState, *, is_begun: bool
) -> None:
    wanted = pull("a")
    recoveries.held[wanted.digest] = state
    await follow(pulling, wanted)
    assert bool(recoveries.begun) is is_begun


async def test_nothing_begins_that_does_not_fit_beside_what_begins_with_it(
    pulling: Pulling, recoveries: Recoveries
) -> None:
    await follow(pulling, pull("a"), pull("b"), quota_bytes=2 * SIZE - 1)
    assert [each.checkpoint for each in recoveries.begun] == ["a"]
