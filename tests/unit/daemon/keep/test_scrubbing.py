import asyncio
from dataclasses import replace

import pytest

from ckptd.daemon.keep.place_moments import PlaceMoments
from ckptd.daemon.keep.reads import Reads
from ckptd.daemon.keep.scrubbing import Due, Scrubbing, next_due
from ckptd.limits import GIB
from ckptd.model.blocks import BlockSet
from ckptd.model.words import PlaceState, ReadReason
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.published.places import Place
from tests.unit.daemon.keep.conftest import Held

PLACE = Place(
    number=1,
    root="data",
    directory="v1",
    is_published=True,
    is_withdrawn=False,
    added_at_s=50.0,
    checked_at_s=100.0,
    scrubbed_units=0,
    unit_count=4,
    blocks=BlockSet.full(4),
)


def due(*places: Place, now_s: float, tried_s: dict[int, float] | None = None) -> Due:
    moments = PlaceMoments(lambda: now_s, clock=lambda: now_s).look(places)
    return next_due(places, moments, tried_s or {}, now_s=now_s, every_s=10.0)


def test_nothing_is_due_where_nothing_is_on_offer() -> None:
    assert due(now_s=1000.0) == Due(None, 10.0)
    assert due(replace(PLACE, is_withdrawn=True), now_s=1000.0) == Due(None, 10.0)
    assert due(PLACE.with_changed(range(4), "gone"), now_s=1000.0) == Due(None, 10.0)


@pytest.mark.parametrize(("now_s", "wait_s"), [(100.0, 10.0), (109.0, 1.0), (110.0, 0.0)])
def test_a_place_is_due_so_long_after_it_was_checked(now_s: float, wait_s: float) -> None:
    assert due(PLACE, now_s=now_s) == Due(PLACE, wait_s)


def test_the_place_that_was_checked_longest_ago_goes_first() -> None:
    newer, older = replace(PLACE, number=2), replace(PLACE, number=3, checked_at_s=99.0)
    assert due(PLACE, newer, older, now_s=200.0) == Due(older, 0.0)
    assert due(newer, PLACE, now_s=200.0) == Due(PLACE, 0.0)


def test_what_was_never_checked_counts_from_when_it_was_added() -> None:
    assert due(replace(PLACE, checked_at_s=0.0), now_s=55.0).wait_s == 5.0
    assert due(replace(PLACE, checked_at_s=0.0, added_at_s=0.0), now_s=55.0).wait_s == 0.0


def test_a_round_that_is_begun_goes_on_first() -> None:
    begun = replace(PLACE, number=2, checked_at_s=150.0, scrubbed_units=1)
    assert due(PLACE, begun, now_s=151.0) == Due(begun, 0.0)
    # In this life of the daemon it failed: that is no reason to try without a pause.
    assert due(begun, now_s=151.0, tried_s={2: 151.0}) == Due(begun, 10.0)


def test_a_place_with_something_wrong_is_not_read_all_the_time() -> None:
    wrong = PLACE.with_changed([0], "rotten")
    assert due(wrong, now_s=200.0, tried_s={1: 195.0}) == Due(wrong, 5.0)


def scrubbing_of(
    held: Held, reads: Reads, *, now_s: list[float], busy: list[bool] | None = None
) -> Scrubbing:
    return Scrubbing(
        held.catalog,
        held.roots,
        reads,
        every_s=10.0,
        rate_bytes_per_s=GIB,
        is_busy=lambda: bool(busy and busy.pop()),
        moments=PlaceMoments(lambda: now_s[0], clock=lambda: now_s[0]),
        clock=lambda: now_s[0],
        wall_clock=lambda: now_s[0],
    )


async def scrub_once(made: Scrubbing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrub until it is idle."""
    idle = asyncio.Event()
    sleep = asyncio.sleep

    async def note(wait_s: float) -> None:
        if wait_s:
            idle.set()
        await sleep(0 if wait_s < 5 else 1000)

    monkeypatch.setattr(asyncio, "sleep", note)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        async with asyncio.timeout(60):
            await idle.wait()
        running.cancel()


async def test_a_place_that_is_right_was_checked_now(
    held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scrub_once(scrubbing_of(held, reads, now_s=[5000.0]), monkeypatch)
    assert (held.place.checked_at_s, held.place.scrubbed_units) == (5000.0, 0)
    assert held.place.state is PlaceState.HERE
    assert reads.bytes_by_reason == {ReadReason.SCRUB: 305_000}


async def test_rot_is_found(held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = held.units["weights.bin"]
    held.write("weights.bin", b"?" * 300_000)
    recorded = held.hashed.files[weights]
    assert recorded
    looks = {weights: recorded._replace(fingerprint=fingerprint_of(held.facts("weights.bin")))}
    await held.catalog.settle(held.number, looks, {})
    before_s = held.place.checked_at_s
    await scrub_once(scrubbing_of(held, reads, now_s=[5000.0]), monkeypatch)
    assert held.place.changed == {weights}
    assert "bit rot" in held.place.reason
    assert (held.place.checked_at_s, reads.rotten_units) == (before_s, 1)


async def test_a_round_goes_on_where_it_was_and_passes_over_what_is_known_to_be_wrong(
    held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await held.catalog.note_scrubbed(held.number, 1)
    first, second, third = sorted(held.units, key=held.units.__getitem__)
    held.remove(second)
    held.catalog.mark_changed(held.number, [held.units[second]], "was removed")
    await scrub_once(scrubbing_of(held, reads, now_s=[5000.0]), monkeypatch)
    size = held.hashed.manifest.units[held.units[third]].size_bytes
    assert reads.bytes_by_reason == {ReadReason.SCRUB: size}
    assert reads.changed_units == 0
    assert first


async def test_it_waits_while_there_is_other_work(
    held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scrubbing_of(held, reads, now_s=[5000.0], busy=[True])
    await scrub_once(made, monkeypatch)
    assert reads.bytes_by_reason == {}
    await scrub_once(made, monkeypatch)
    assert held.place.checked_at_s == 5000.0
