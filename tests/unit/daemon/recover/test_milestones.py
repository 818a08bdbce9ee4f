"""Milestones outlive the daemon that reached them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from ckptd.core.effects import AnnounceMilestone
from ckptd.daemon.recover import milestones as module
from ckptd.daemon.recover.milestones import Milestones
from ckptd.daemon.recover.recoveries import DescribedVersion, OpenRecovery, RecoveryBook
from ckptd.limits import SECOND
from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.milestones import CRITICAL, FIRST_UNIT, Milestone
from ckptd.model.space import AddressSpace
from ckptd.model.words import MilestoneKind
from ckptd.store.files.roots import Root
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.milestone_records import MilestoneRecords
from tests.support.manifests import make_manifest
from tests.support.stores import journaled

ID = RecoveryId("r-1")
DIGEST = Digest("ab" * 32)
ONE_PHASE = make_manifest({"a": b"1", "b": b"2"}, version=7)
FIRST, LAST = (Milestone(MilestoneKind.PHASE, number) for number in range(2))


def two_phases() -> AddressSpace:
    first, second = ONE_PHASE.units
    units = (first, msgspec.structs.replace(second, phase=1))
    return AddressSpace(msgspec.structs.replace(ONE_PHASE, units=units, phases=("core", "rest")))


@dataclass
class Log:
    """What was logged: the event, and what was said with it."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **said: object) -> None:
        self.lines.append((event, said))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(module, "_log", made)
    return made


async def of_a_recovery(
    database: Database, root: Root, space: AddressSpace
) -> tuple[Milestones, OpenRecovery]:
    """Begin a recovery that was asked for at 2 s; it is 5 s now."""
    record = journaled(ID, root=root.name)
    await Journal(database).begin(record)
    book = RecoveryBook(lambda: 0, lambda: 0.0)
    recovery = OpenRecovery(record, root, "", 2 * SECOND)
    recovery.described = DescribedVersion(DIGEST, space)
    book.open(recovery)
    return Milestones(MilestoneRecords(database), book, lambda: 5 * SECOND), recovery


async def test_the_next_life_knows_when_on_its_own_clock(
    database: Database, root: Root, log: Log
) -> None:
    milestones, _ = await of_a_recovery(database, root, two_phases())
    for milestone in (FIRST_UNIT, FIRST, CRITICAL):
        await milestones.note(AnnounceMilestone(ID, milestone, "core"))
    reached = dict(await milestones.of(ID, DIGEST, -70 * SECOND))
    assert reached == dict.fromkeys((FIRST_UNIT, FIRST, CRITICAL), -67 * SECOND)
    assert await milestones.of(ID, Digest("cd" * 32), 0) == ()
    assert await milestones.of(ID, None, 0) == ()
    assert len(log.lines) == 2


async def test_phases_and_what_is_critical_are_logged_with_how_long_it_took(
    database: Database, root: Root, log: Log
) -> None:
    milestones, recovery = await of_a_recovery(database, root, two_phases())
    placed = Milestone(MilestoneKind.PLACED, 1)
    for milestone, name in ((FIRST_UNIT, ""), (FIRST, "core"), (CRITICAL, ""), (placed, "rest")):
        await milestones.note(AnnounceMilestone(ID, milestone, name))
    common = {
        "recovery": ID, "checkpoint": recovery.record.checkpoint, "version": 7, "after_s": 3.0
    }  # fmt: skip
    assert log.lines == [
        ("phase.complete", common | {"phase": "core"}),
        ("critical.complete", common),
        ("phase.placed", common | {"phase": "rest"}),
    ]


async def test_the_only_phase_of_a_version_is_not_worth_a_line(
    database: Database, root: Root, log: Log
) -> None:
    milestones, _ = await of_a_recovery(database, root, AddressSpace(ONE_PHASE))
    await milestones.note(AnnounceMilestone(ID, FIRST, "all"))
    assert not log.lines
    assert await milestones.of(ID, DIGEST, 0) == ((FIRST, 3 * SECOND),)
