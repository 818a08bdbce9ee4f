"""When the daemon asks for a recovery itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.config.recover_tables import RecoverTable
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.daemon.answer.configured_recoveries import (
    ConfiguredRecoveries,
    is_needless,
    is_to_ask,
    pause_s,
    stands_here,
)
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.shards import WantedShards, parse_shards
from ckptd.model.words import PlaceMode, RecoverAt, Result, Stage
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.configured_records import ConfiguredRecords
from ckptd.store.records.database import Database

LLAMA = CheckpointName("llama")


@pytest.mark.parametrize(
    ("at", "is_asked", "is_here", "expected"),
    [
        (RecoverAt.START, False, False, True),
        (RecoverAt.START, False, True, True),  # there may be a newer one
        (RecoverAt.START, True, False, False),
        (RecoverAt.START, True, True, False),
        (RecoverAt.MISSING, False, False, True),
        (RecoverAt.MISSING, True, False, True),
        (RecoverAt.MISSING, False, True, False),
        (RecoverAt.MISSING, True, True, False),
    ],
)
def test_at_the_start_once_for_each_boot_else_whenever_nothing_is_here(
    at: RecoverAt, *, is_asked: bool, is_here: bool, expected: bool
) -> None:
    found = is_to_ask(at, is_asked=is_asked, is_under_way=False, is_here=is_here, wait_s=0.0)
    assert found is expected


def test_never_while_one_is_under_way_and_not_before_the_pause_is_over() -> None:
    for at, is_asked, is_here in itertools.product(RecoverAt, (False, True), (False, True)):
        for is_under_way, wait_s in ((True, 0.0), (False, 0.1)):
            assert not is_to_ask(
                at, is_asked=is_asked, is_under_way=is_under_way, is_here=is_here, wait_s=wait_s
            )


def test_the_pause_doubles_with_each_failure_up_to_a_quarter_of_an_hour() -> None:
    assert [pause_s(failures) for failures in (0, 1, 2, 7, 8, 10**9)] == [5, 10, 20, 640, 900, 900]


def standing(*names: str, version: int = 7) -> set[tuple[CheckpointName, Version]]:
    return {(CheckpointName(name), Version(version)) for name in names}


def shards(count: int, *numbers: int, version: int = 7) -> set[tuple[CheckpointName, Version]]:
    names = (f"llama/shard-{number}-of-{count}" for number in numbers)
    return standing(*names, version=version)


def test_a_checkpoint_stands_here_with_any_version_of_it_alone() -> None:
    assert stands_here(LLAMA, None, standing("llama"))
    assert not stands_here(LLAMA, None, standing("llama/rank-3", "llama2"))
    assert not stands_here(LLAMA, None, ())


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (parse_shards("0,3/8"), shards(8, 0, 3), True),
        (parse_shards("0,3/8"), shards(8, 0, 3, 5), True),
        (parse_shards("0,3/8"), shards(8, 0), False),
        (parse_shards("0,3/8"), shards(16, 0, 3), False),
        (parse_shards("0,3"), shards(16, 0, 3), True),
        (parse_shards("0,3/8"), shards(8, 0) | shards(8, 3, version=8), False),
        (parse_shards("0,3"), shards(8, 0) | shards(16, 3), False),
        (parse_shards("all"), shards(2, 0, 1), True),
        (parse_shards("all"), shards(2, 1), False),
        (parse_shards("all"), standing("llama"), False),
    ],
)
def test_of_a_job_all_wanted_shards_of_one_version_and_layout_stand_here(
    wanted: WantedShards, found: set[tuple[CheckpointName, Version]], *, expected: bool
) -> None:
    assert stands_here(LLAMA, wanted, found) is expected


class Stub:
    """What it asks: a book of recoveries that fail at once, and who begins them."""

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.asked: list[RecoverRequest] = []
        self.all_asked = asyncio.Event()
        self.under_way: list[object] = []
        self.others: list[object] = []

    def __iter__(self) -> Iterator[object]:
        return iter(self.under_way)

    def get(self, _: str) -> None:
        return None

    def result(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(result=Result.FAILED, message="it is in the way", link_problem="")

    def ended(self) -> tuple[object, ...]:
        return tuple(self.others)

    async def recover(self, request: RecoverRequest) -> SimpleNamespace:
        self.asked.append(request)
        if len(self.asked) >= self.tries:
            self.all_asked.set()
        return SimpleNamespace(recovery=f"r-{len(self.asked)}")


async def follow(
    database: Database, catalog: Catalog, stub: Stub, *tables: RecoverTable, boot: str = "boot"
) -> ConfiguredRecoveries:
    """Return what asked until the stub was asked as often as it is to be."""
    records = ConfiguredRecords(database)
    roots = SimpleNamespace(for_copies="copies", is_for_copies=lambda path: "/copies/" in path)
    clock = itertools.count(0.0, 1000.0)
    parts = SimpleNamespace(
        config=SimpleNamespace(recover=tables),
        boot=boot,
        storage=SimpleNamespace(catalog=catalog, configured=records, roots=roots),
    )
    recovering = SimpleNamespace(book=stub, own_shards={})
    configured = ConfiguredRecoveries(
        cast(Parts, parts),
        cast(Recovering, recovering),
        cast(RecoveryAnswers, stub),
        clock=lambda: next(clock),
    )
    await configured.load()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(configured.run())
        waiting = tasks.create_task(stub.all_asked.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        for _ in range(2):  # what was asked last is taken in
            await database.run(lambda connection: connection.execute("SELECT 1").fetchone())
            await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
    return configured


async def test_a_reason_is_said_once_however_often_it_is_tried(
    database: Database,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckptd.daemon.answer.configured_recoveries._LOOK_S", 0.0)
    said: list[str] = []
    log = SimpleNamespace(
        info=lambda *_, **__: None, warning=lambda event, **facts: said.append(facts["why"])
    )
    monkeypatch.setattr("ckptd.daemon.answer.configured_recoveries._log", log)
    stub = Stub(tries=4)
    configured = await follow(database, catalog, stub, RecoverTable(LLAMA, RecoverAt.MISSING))
    assert configured.unmet() == {"llama": "it is in the way"}
    assert said == ["it is in the way"]
    assert {request.overwrite for request in stub.asked} == {False}


async def test_what_a_copy_for_others_is_about_is_neither_under_way_nor_met(
    database: Database, catalog: Catalog
) -> None:
    stub = Stub(tries=1)
    record = SimpleNamespace(checkpoint=LLAMA)
    copying = SimpleNamespace(record=record, root=SimpleNamespace(name="copies"))
    came = SimpleNamespace(
        recovery="r-9",
        checkpoint=LLAMA,
        target="/data/copies/llama/7",
        result=Result.COMPLETE,
    )
    stub.under_way, stub.others = [copying], [came]
    configured = await follow(database, catalog, stub, RecoverTable(LLAMA, RecoverAt.START))
    assert configured.unmet() == {"llama": "it is in the way"}
    came.target = "/data/first/llama/7"
    assert configured.unmet() == {}


async def test_the_next_life_in_the_same_boot_does_not_ask_at_the_start_another_boot_does(
    database: Database, catalog: Catalog
) -> None:
    table = RecoverTable(
        LLAMA, RecoverAt.START, "0/8", PlaceMode.PROGRESSIVE, activate=True, patience_s=60.0
    )
    first, same, other = Stub(tries=2), Stub(tries=1), Stub(tries=2)
    await follow(database, catalog, first, table)
    failed = await follow(database, catalog, same, table)
    await follow(database, catalog, other, table, boot="another")
    assert [len(stub.asked) for stub in (first, same, other)] == [1, 0, 1]
    assert failed.unmet() == {"llama": "it is in the way"}
    assert first.asked == [
        RecoverRequest(
            checkpoint="llama",
            patience_s=60.0,
            is_background=True,
            is_name_awaited=True,
            shards="0/8",
            place="progressive",
            activate=True,
        )
    ]


@pytest.mark.parametrize("stage", Stage)
def test_what_came_otherwise_is_not_brought_unless_it_is_being_placed(stage: Stage) -> None:
    early = {Stage.SEEKING, Stage.DESCRIBING, Stage.PREPARING, Stage.TRANSFERRING}
    for at, is_background, is_here in itertools.product(RecoverAt, (False, True), (False, True)):
        found = is_needless(at, stage, is_background=is_background, is_here=is_here)
        is_wanted = at is RecoverAt.START or not is_background  # somebody else asked for it
        assert found is (is_here and stage in early and not is_wanted)


class UnderWay(Stub):
    """A recovery that goes on until somebody gives it up."""

    def __init__(self, saved: list[object], target: str) -> None:
        super().__init__(tries=1)
        self.saved = saved
        self.looked_at = 0
        self.cancelled: list[str] = []
        self.given_up = asyncio.Event()
        self.all_asked = self.given_up
        self.open = SimpleNamespace(
            id="r-1",
            ended=asyncio.Event(),
            record=SimpleNamespace(checkpoint=LLAMA, is_background=True),
            root=SimpleNamespace(name="main"),
            target=target,
        )

    def __iter__(self) -> Iterator[object]:
        return iter([self.open] if self.asked else [])

    def get(self, _: str) -> None:
        return cast(None, self.open)

    def recovery(self, _: str) -> SimpleNamespace:
        self.looked_at += 1
        if self.looked_at == 2:
            self.saved.append(
                SimpleNamespace(
                    holding=SimpleNamespace(checkpoint=LLAMA, version=Version(7)),
                    places=(SimpleNamespace(root="main", directory="run/step_7"),),
                    is_copy=False,
                )
            )
        if self.looked_at == 4:
            self.given_up.set()  # the test need not wait for ever
        return SimpleNamespace(stage=Stage.SEEKING)

    async def recover(self, request: RecoverRequest) -> SimpleNamespace:
        self.asked.append(request)
        return SimpleNamespace(recovery="r-1")

    async def cancel(self, recovery: str) -> None:
        self.cancelled.append(recovery)
        self.given_up.set()


@pytest.mark.parametrize(
    ("target", "cancelled"), [("", ["r-1"]), ("llama/7", ["r-1"]), ("run/step_7", [])]
)
async def test_what_a_new_job_saves_ends_the_wait_for_it_unless_that_is_what_is_brought(
    database: Database, monkeypatch: pytest.MonkeyPatch, target: str, cancelled: list[str]
) -> None:
    monkeypatch.setattr("ckptd.daemon.answer.configured_recoveries._NEED_LOOK_S", 0.0)
    saved: list[object] = []
    catalog = SimpleNamespace(versions=lambda: saved, known_shards=lambda _: {})
    stub = UnderWay(saved, target)
    configured = await follow(
        database, cast(Catalog, catalog), stub, RecoverTable(LLAMA, RecoverAt.MISSING)
    )
    assert len(stub.asked) == 1
    assert (stub.cancelled, configured.unmet()) == (cancelled, {})
