"""Every step that a recovery by phases writes down can be its last: the next life goes on.

Each transaction and each rename is one, before it and after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from ckptd.core.effects import PlacePhase
from ckptd.core.events import PhaseHeld, PhasePlaced
from ckptd.daemon.recover.phase_orders import PhaseOrders
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.model.blocks import BlockSet, union
from ckptd.model.encoded.decoding import encoding_of
from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.words import PlaceMode, PlaceState
from ckptd.store.files import confined
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.placed_units import PlacedUnitRecords
from ckptd.store.trees.standing_files import KnownPlace, OnDisk
from tests.support.killing import Killed
from tests.support.phases import PHASED_CONTENTS, check_visible, phased_manifest, visible
from tests.support.stagings import TARGET, Site
from tests.support.stores import journaled

MANIFEST = phased_manifest()
DIGEST = Digest(hexdigest_of(encoding_of(MANIFEST)))
ID = RecoveryId("r-1")
CORE = {"model/a.bin", "model/b.bin", "model/empty"}
_T = TypeVar("_T")


class Life:
    """One life of a daemon that recovers a version by phases."""

    def __init__(self, site: Site, database: Database) -> None:
        self.site = site
        self.catalog = Catalog(database, Roots([site.root]))
        self.journal, self.placed = Journal(database), PlacedUnitRecords(database)
        storage = SimpleNamespace(
            catalog=self.catalog, journal=self.journal, placed_units=self.placed
        )
        self.orders = PhaseOrders(cast("Any", storage), _in_thread)
        record = replace(journaled(ID, target=TARGET), place=PlaceMode.PROGRESSIVE)
        self.recovery = OpenRecovery(record, site.root, TARGET, 0, space=site.space)

    async def begin(self) -> BlockSet:
        """Take up what an earlier life left; return what is here."""
        await self.catalog.load()
        staging = self.recovery.staging = self.site.staging()
        held, known = self.catalog.held(DIGEST), None
        if held is not None:
            place = held.places[0]
            files = (await self.catalog.hashed(place.number)).files
            known = KnownPlace(self.site.root, TARGET, files, place.changed, place.number)
        self.recovery.here = OnDisk(known)
        is_begun = await self.placed.is_target_made(ID)
        journaled_blocks = await self.journal.blocks(ID)
        return staging.prepare(journaled_blocks, self.recovery.here, is_begun=is_begun)

    def of_phase(self, phase: int) -> BlockSet:
        paths = (unit.path for unit in MANIFEST.units if unit.phase == phase)
        return self.site.blocks_of(*(path for path in paths if PHASED_CONTENTS[path]))

    async def bring(self, phase: int, found: BlockSet) -> None:
        """Let the blocks of a phase come, and place it."""
        staging = self.recovery.known_staging()
        new = self.of_phase(phase) - found
        self.site.deliver(staging, new)
        await asyncio.to_thread(self.journal.append, ID, new)
        missing = union(self.of_phase(later) for later in range(phase + 1, 3))
        order = PlacePhase(ID, phase, MANIFEST.phases[phase], missing)
        assert await self.orders.place(self.recovery, order, DIGEST) == PhasePlaced(ID, phase)

    async def run(self) -> None:
        """Bring two phases of three."""
        found = await self.begin()
        for phase in range(2):
            await self.bring(phase, found)


async def _in_thread(work: Callable[[], _T]) -> _T:
    return work()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Site, Database]]:
    (path / "root").mkdir(parents=True)
    site = Site(path / "root", PHASED_CONTENTS, manifest=MANIFEST)
    (path / "root" / "llama").mkdir()
    (path / "root" / "llama" / "mine").write_bytes(b"mine")
    database = Database(str(path / "ckptd.db"))
    await database.open()
    journal = Journal(database)
    record = replace(journaled(ID, target=TARGET), place=PlaceMode.PROGRESSIVE)
    await journal.begin(record)
    await journal.choose(ID, cast("Any", MANIFEST.version), DIGEST, encoding_of(MANIFEST))
    try:
        yield site, database
    finally:
        await database.close()
        site.close()


def kill_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the process end before or after one of the steps that change something."""
    left = steps

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Killed

    run, note, replaced = Database.run, confined.rename_noreplace, confined.rename_replacing

    async def killed_run(self: Database, work: Callable[[Any], _T]) -> _T:
        count()
        done = await run(self, work)
        count()
        return done

    def killed(call: Callable[..., None]) -> Callable[..., None]:
        def rename(*names: Any) -> None:  # noqa: ANN401 (as the call has them)
            count()
            call(*names)
            count()

        return rename

    monkeypatch.setattr(Database, "run", killed_run)
    monkeypatch.setattr(confined, "rename_noreplace", killed(note))
    monkeypatch.setattr(confined, "rename_replacing", killed(replaced))


async def was_killed(site: Site, database: Database, steps: int) -> bool:
    life = Life(site, database)
    with pytest.MonkeyPatch.context() as killing:
        kill_at(killing, steps)
        try:
            await life.run()
        except Killed:
            return True
        finally:
            with contextlib.suppress(Exception):
                life.recovery.known_staging().close()
    return False


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["goes on", "cancelled"])
async def test_every_step_that_is_written_down_may_be_the_last(
    tmp_path: Path, is_cancelled: bool
) -> None:
    steps, is_killed = 0, True
    while is_killed:
        steps += 1
        async with opened(tmp_path / str(steps)) as (site, database):
            is_killed = await was_killed(site, database, steps)
            check_visible(site.placed())
            life = Life(site, database)
            if not is_cancelled:
                await life.run()
                check_visible(site.placed())
                assert visible(site.placed()) == CORE | {"serving/tokenizer.json"}
                (held,) = life.catalog.versions()
                assert held.main.state is PlaceState.PARTIAL
                absent = {MANIFEST.units[unit].path for unit in held.main.absent}
                assert absent == {".metadata", "optim/c.bin"}
                assert life.catalog.newest_ever(held.holding.checkpoint) is None
            else:
                await life.bring(0, await life.begin())
                await life.orders.withdraw(life.recovery)
                assert not site.placed().exists()
                assert life.catalog.versions() == ()
            life.recovery.known_staging().close()
            assert (site.path / "llama" / "mine").read_bytes() == b"mine"
    assert steps > 30, "there are more steps than that"


async def test_what_is_in_the_way_is_reported_and_what_stands_is_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (site, database):
        life = Life(site, database)
        await life.bring(0, await life.begin())
        foreign = site.placed("serving/tokenizer.json")
        foreign.parent.mkdir()
        foreign.write_bytes(b"mine")
        site.deliver(life.recovery.known_staging(), life.of_phase(1))
        order = PlacePhase(ID, 1, "serving", life.of_phase(2))
        held = await life.orders.place(life.recovery, order, DIGEST)
        assert isinstance(held, PhaseHeld)
        assert held.is_in_the_way
        assert held.refusal.is_retryable
        assert str(foreign) in held.refusal.message
        await life.orders.withdraw(life.recovery)
        assert visible(site.placed()) == {"serving/tokenizer.json"}
        assert foreign.read_bytes() == b"mine"
        assert life.catalog.versions() == ()


async def test_what_stood_there_before_stays_when_it_is_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as (site, database):
        first = Life(site, database)
        await first.bring(0, await first.begin())
        first.recovery.known_staging().close()
        await database.run(lambda connection: connection.execute("DELETE FROM placed_units"))
        await database.run(
            lambda connection: connection.execute("UPDATE recoveries SET is_target_made = 0")
        )
        later = Life(site, database)
        found = await later.begin()
        for phase in range(2):
            await later.bring(phase, found)
        await later.orders.withdraw(later.recovery)
        later.recovery.known_staging().close()
        assert visible(site.placed()) == CORE
        (held,) = later.catalog.versions()
        assert len(held.main.absent) == len(PHASED_CONTENTS) - len(CORE)
