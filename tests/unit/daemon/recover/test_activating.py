"""The link of a checkpoint leads to what is right, whatever step a crash comes at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ckptd.daemon.recover import activating as activating_module
from ckptd.daemon.recover.activating import Activating
from ckptd.daemon.recover.activations import Activation
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import Conflict, NotFound, StorageError
from ckptd.model.ids import CheckpointName, RecoveryId, Version
from ckptd.model.words import Result
from ckptd.store.files.roots import Root, Roots
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.active_records import ActiveRecords, ActiveVersion
from ckptd.store.records.database import Database
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.staging.current_link import CurrentLink
from tests.support.stores import ended, journaled, publish, write_files

NAME = CheckpointName("llama/rank-0")
LINK = "llama/rank-0/current"


def candidate(version: int, directory: str | None = None) -> Activation:
    return Activation(NAME, Version(version), "data", directory or f"{NAME}/{version}")


async def put(catalog: Catalog, root: Root, version: int, directory: str = "") -> int:
    """Publish a version; return the number of its place."""
    directory = directory or f"{NAME}/{version}"
    write_files(
        Path(root.path, directory), {"weights": bytes([version % 256]) * 100, "config": b"1"}
    )
    held = await catalog.add(publish(root, directory, checkpoint=NAME, version=version))
    return held.places[-1].number


def new_life(catalog: Catalog, root: Root, pattern: str = "{checkpoint}/current") -> Activating:
    return Activating(catalog, Roots([root]), pattern, {}, lambda: 5.0)


@pytest.fixture
async def activating(catalog: Catalog, root: Root) -> Activating:
    for version in (100, 200):
        await put(catalog, root, version)
    return new_life(catalog, root)


def led_to(root: Root) -> str | None:
    link = Path(root.path, LINK)
    return os.readlink(link) if link.is_symlink() else None


def remove_link(root: Root) -> None:
    Path(root.path, LINK).unlink()


def write_precious(root: Root) -> Path:
    """Put a file of somebody else where the link would be."""
    path = Path(root.path, LINK)
    path.write_bytes(b"precious")
    return path


def is_precious(path: Path) -> bool:
    return path.read_bytes() == b"precious"


def make_link(root: Root, text: str) -> None:
    Path(root.path, LINK).symlink_to(text)


def shorten(root: Root, path: str) -> None:
    Path(root.path, NAME, path).write_bytes(b"shorter")


def names(root: Root) -> list[str]:
    return sorted(os.listdir(Path(root.path, NAME)))


async def test_the_link_leads_to_what_was_activated_last(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    first = await activating.activate(candidate(100))
    assert (first.before, first.is_new, led_to(root)) == (None, True, "100")
    (held,) = catalog.find(NAME, Version(100))
    assert catalog.is_active(held.holding.digest)
    assert first.row.digest == held.holding.digest
    second = await activating.activate(candidate(200))
    assert (second.before, second.is_new, led_to(root)) == (first.row, True, "200")
    assert not catalog.is_active(held.holding.digest)
    again = await activating.activate(candidate(200))
    assert (again.is_new, again.swap_ns) == (False, 0)
    assert names(root) == ["100", "200", "current"]
    counts = activating.counts()
    assert (counts.done, counts.failed, counts.active) == (2, 0, 1)


async def test_a_link_that_is_taken_away_is_gone_and_versions_stay(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    row = (await activating.activate(candidate(100))).row
    assert (await activating.deactivate(row)).left == ""
    assert names(root) == ["100", "200"]
    assert catalog.active.all() == catalog.active.intended() == ()


async def test_what_somebody_put_in_its_place_stays_and_is_ckptds_no_more(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    row = (await activating.activate(candidate(100))).row
    remove_link(root)
    path = write_precious(root)
    with pytest.raises(Conflict, match="is no link, and is not replaced"):
        await activating.activate(candidate(200))
    assert catalog.active.all() == (row,)
    assert "is no link" in (await activating.deactivate(row)).left
    assert is_precious(path)
    assert catalog.active.all() == ()
    assert activating.counts().failed == 1


async def test_a_link_that_leads_there_already_is_taken_over_and_no_other_one(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    make_link(root, "100")
    with pytest.raises(Conflict, match="is not what ckptd made it for"):
        await activating.activate(candidate(200))
    with pytest.raises(Conflict):
        await activating.check_free(root, NAME, f"{NAME}/200")
    await activating.check_free(root, NAME, f"{NAME}/100")
    done = await activating.activate(candidate(100))
    assert (done.is_new, led_to(root)) == (False, "100")
    assert (await activating.activate(candidate(200))).is_new
    assert led_to(root) == "200"


async def test_a_link_that_was_removed_is_made_again(activating: Activating, root: Root) -> None:
    await activating.activate(candidate(100))
    remove_link(root)
    assert (await activating.activate(candidate(100))).is_new
    assert led_to(root) == "100"


STATES: dict[str, tuple[Callable[[Catalog, int], Any], str]] = {
    "suspect": (
        lambda catalog, number: catalog.mark_suspect(number, (0,), "it looks different"),
        r"is suspect: 1 of 2 units are to be hashed again\. Wait .* verify llama/rank-0@200",
    ),
    "changed": (
        lambda catalog, number: catalog.mark_changed(number, (0,), "a file was removed"),
        r"is stale: a file was removed\. Put it right: ckptctl recover llama/rank-0@200 --to /",
    ),
    "withdrawn": (
        lambda catalog, number: catalog.withdraw_all([number]),
        r"is withdrawn\. Publish the directory again",
    ),
}


@pytest.mark.parametrize("state", STATES)
async def test_what_is_not_known_to_be_right_does_not_become_active(
    activating: Activating, catalog: Catalog, root: Root, state: str
) -> None:
    await activating.activate(candidate(100))
    (held,) = catalog.find(NAME, Version(200))
    spoil, problem = STATES[state]
    done = spoil(catalog, held.places[0].number)
    if isinstance(done, Awaitable):
        await done
    with pytest.raises(Conflict, match=problem):
        await activating.activate(candidate(200))
    assert (led_to(root), catalog.active.intended()) == ("100", ())


async def test_what_was_not_looked_at_since_the_start_does_not_become_active(
    activating: Activating, database: Database, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.store.published.catalog.SEEN_AT_ONCE_BYTES", 0)
    later = Catalog(database, Roots([root]))
    await later.load()
    with pytest.raises(Conflict, match="was not looked at since ckptd started"):
        await new_life(later, root).activate(candidate(100))


async def test_the_files_are_looked_at_before_the_link_is_swapped(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    async def look(number: int) -> None:
        catalog.mark_suspect(number, (0,), "it looks different by now")

    activating.look = look
    with pytest.raises(Conflict, match="is suspect"):
        await activating.activate(candidate(100))
    assert led_to(root) is None


@pytest.mark.parametrize("is_by_choice", [False, True])
async def test_what_lacks_required_units_becomes_active_only_if_that_is_permitted(
    activating: Activating, catalog: Catalog, root: Root, *, is_by_choice: bool
) -> None:
    write_files(Path(root.path, NAME, "300"), {"weights": b"3", "config": b"1"})
    hashed = publish(root, f"{NAME}/300", checkpoint=NAME, version=300)
    files = UnitFiles(file if unit else None for unit, file in enumerate(hashed.files))
    partial = replace(hashed, files=files)
    await catalog.add(partial, is_published=False, is_by_choice=is_by_choice)
    with pytest.raises(Conflict, match=r"lacks 1 of 2 units\. Permit that with --partial, or"):
        await activating.activate(candidate(300))
    assert (await activating.activate(candidate(300), allow_partial=True)).is_new


async def test_what_stands_nowhere_or_elsewhere_is_not_found(
    activating: Activating, root: Root
) -> None:
    for wanted in (candidate(300), candidate(100, "elsewhere")):
        with pytest.raises(NotFound, match="does not stand in"):
            await activating.activate(wanted)


async def test_a_link_lies_in_no_version(catalog: Catalog, root: Root) -> None:
    await put(catalog, root, 100, "llama")
    with pytest.raises(Conflict, match=r"would lie in the directory of llama/rank-0@100\. Name"):
        await new_life(catalog, root).activate(candidate(100, "llama"))


async def test_another_configuration_makes_no_second_link(
    activating: Activating, catalog: Catalog, root: Root
) -> None:
    await activating.activate(candidate(100))
    later = new_life(catalog, root, "active/{checkpoint}")
    with pytest.raises(Conflict, match=r"would be a second one: .* activate --none llama/rank-0"):
        await later.activate(candidate(200))
    (row,) = catalog.active.all()
    await later.deactivate(row)
    await later.activate(candidate(200))
    assert os.readlink(Path(root.path, f"active/{NAME}")) == "../../llama/rank-0/200"


async def test_shards_of_a_job_in_one_directory_become_active_together(
    catalog: Catalog, root: Root
) -> None:
    directory, job = "llama/7", CheckpointName("llama")
    write_files(Path(root.path, directory), {"a": b"1", "b": b"2"})
    hashed = [
        publish(
            root, directory, checkpoint=f"llama/shard-{each}-of-2", version=7, exclude=(left_out,)
        )
        for each, left_out in ((0, "b"), (1, "a"))
    ]
    await catalog.add_shards(hashed, (job, Version(7), hashed[0].digest))
    activating = new_life(catalog, root)
    done = await activating.activate(Activation(job, Version(7), "data", directory))
    assert (done.row.digest, os.readlink(Path(root.path, "llama/current"))) == (None, "7")
    assert all(catalog.is_active(each.digest) for each in hashed)
    catalog.mark_changed(catalog.versions()[1].places[0].number, (0,), "changed")
    with pytest.raises(Conflict, match=r"shard-1-of-2@7 in .* is stale"):
        await activating.activate(Activation(job, Version(7), "data", directory))


async def test_what_is_let_go_meanwhile_does_not_become_active(
    activating: Activating, catalog: Catalog, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who began before the intention was known takes the version off offer."""
    (held,) = catalog.find(NAME, Version(100))
    intend = ActiveRecords.intend

    async def after_withdrawal(self: ActiveRecords, wanted: ActiveVersion) -> None:
        await asyncio.gather(catalog.withdraw_all([held.places[0].number]), intend(self, wanted))

    monkeypatch.setattr(ActiveRecords, "intend", after_withdrawal)
    with pytest.raises(Conflict, match="is withdrawn"):
        await activating.activate(candidate(100))
    assert (led_to(root), catalog.active.intended()) == (None, ())


class Killed(BaseException):
    """The daemon is dead."""


STEPS: tuple[tuple[object, str], ...] = (
    (ActiveRecords, "intend"),
    (CurrentLink, "prepare"),
    (CurrentLink, "swap"),
    (CurrentLink, "sync"),
    (ActiveRecords, "settle"),
)


class Death:
    """Lets what is done end before or after one of the steps, and nothing be done after that."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        at: int,
        *,
        is_after: bool,
        steps: tuple[tuple[object, str], ...],
    ) -> None:
        self._at, self._is_after, self._is_dead = at, is_after, False
        for index, (owner, name) in enumerate(steps):
            original = getattr(owner, name)
            wrap = self._async if asyncio.iscoroutinefunction(original) else self._plain
            monkeypatch.setattr(owner, name, wrap(index, original))
        for owner, name in ((ActiveRecords, "give_up"), (activating_module, "is_so")):
            original = getattr(owner, name)
            wrap = self._async if asyncio.iscoroutinefunction(original) else self._plain
            monkeypatch.setattr(owner, name, wrap(-1, original))

    def _before(self, index: int) -> None:
        if self._is_dead or (index == self._at and not self._is_after):
            self._is_dead = True
            raise Killed

    def _after(self, index: int) -> None:
        if index == self._at and self._is_after:
            self._is_dead = True
            raise Killed

    def _async(self, index: int, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def step(*arguments: object) -> object:
            self._before(index)
            done = await original(*arguments)
            self._after(index)
            return done

        return step

    def _plain(self, index: int, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: object) -> object:
            self._before(index)
            done = original(*arguments)
            self._after(index)
            return done

        return step


async def die(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[], Awaitable[object]],
    at: int,
    *,
    is_after: bool,
    steps: tuple[tuple[object, str], ...] = STEPS,
) -> None:
    """Do something that ends with the death of the daemon."""
    with monkeypatch.context() as patch:
        Death(patch, at, is_after=is_after, steps=steps)
        with pytest.raises(Killed):
            await work()


DEATHS = [(at, is_after) for at in range(len(STEPS)) for is_after in (False, True)]


def count_swaps(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return what each link said that was swapped; it grows."""
    swapped: list[str | None] = []
    original = CurrentLink.swap

    def swap(self: CurrentLink, before: str | None) -> None:
        original(self, before)
        swapped.append(before)

    monkeypatch.setattr(CurrentLink, "swap", swap)
    return swapped


@pytest.mark.parametrize("before", [None, 100])
@pytest.mark.parametrize(("at", "is_after"), DEATHS)
async def test_after_a_crash_at_any_step_the_link_is_swapped_exactly_once(
    activating: Activating,
    database: Database,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    *,
    is_after: bool,
    before: int | None,
) -> None:
    if before is not None:
        await activating.activate(candidate(before))
    swapped = count_swaps(monkeypatch)
    await die(monkeypatch, lambda: activating.activate(candidate(200)), at, is_after=is_after)
    assert led_to(root) in {before and str(before), "200"}
    is_intended = (at, is_after) != (0, False)
    for _ in range(2):  # and the life after that has nothing to do
        later = Catalog(database, Roots([root]))
        await later.load()
        await new_life(later, root).go_on()
        assert led_to(root) == ("200" if is_intended else before and str(before))
        assert names(root) == ["100", "200", *(["current"] if led_to(root) else [])]
        assert later.active.intended() == ()
        active = [row.version for row in later.active.all()]
        assert active == ([200] if is_intended else [before] if before else [])
    assert len(swapped) == is_intended


@pytest.mark.parametrize("step", ["take_away", "sync", "settle", "intend"])
@pytest.mark.parametrize("is_after", [False, True])
async def test_after_a_crash_while_a_link_is_taken_away_it_is_gone(
    activating: Activating,
    database: Database,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    is_after: bool,
) -> None:
    row = (await activating.activate(candidate(100))).row
    steps: tuple[tuple[object, str], ...] = (
        (ActiveRecords, "intend"),
        (CurrentLink, "take_away"),
        (CurrentLink, "sync"),
        (ActiveRecords, "settle"),
    )
    at = [name for _, name in steps].index(step)
    await die(monkeypatch, lambda: activating.deactivate(row), at, is_after=is_after, steps=steps)
    later = Catalog(database, Roots([root]))
    await later.load()
    await new_life(later, root).go_on()
    is_intended = (step, is_after) != ("intend", False)
    assert led_to(root) == (None if is_intended else "100")
    assert later.active.all() == (() if is_intended else (row,))
    assert later.active.intended() == ()


async def test_what_is_not_right_any_more_after_a_crash_does_not_become_active(
    activating: Activating, database: Database, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    await activating.activate(candidate(100))
    await die(monkeypatch, lambda: activating.activate(candidate(200)), 0, is_after=True)
    shorten(root, "200/weights")
    later = Catalog(database, Roots([root]))
    await later.load()
    assert later.active.is_active("data", f"{NAME}/200"), "until that is found out"
    await new_life(later, root).go_on()
    assert (led_to(root), later.active.intended()) == ("100", ())
    assert not later.active.is_active("data", f"{NAME}/200")


async def test_a_failed_sync_keeps_the_intention_if_the_link_leads_there(
    activating: Activating, catalog: Catalog, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: CurrentLink) -> None:
        raise StorageError("disk", "is broken")

    with monkeypatch.context() as patch:
        patch.setattr(CurrentLink, "sync", fail)
        with pytest.raises(StorageError):
            await activating.activate(candidate(100))
    assert (led_to(root), [row.version for row in catalog.active.all()]) == ("100", [100])
    assert not (await activating.activate(candidate(100))).is_new


def recovered(root: Root, *, is_activating: bool = True) -> OpenRecovery:
    record = replace(
        journaled("r-1", checkpoint=NAME, target=f"{NAME}/200"), is_activating=is_activating
    )
    return OpenRecovery(record, root, f"{NAME}/200", 0)


def end(result: Result = Result.COMPLETE) -> EndedRecovery:
    return msgspec.structs.replace(
        ended(RecoveryId("r-1")), checkpoint=NAME, version=Version(200), result=result
    )


async def test_what_a_recovery_places_becomes_active_if_that_was_asked_for(
    activating: Activating, root: Root
) -> None:
    unasked = recovered(root, is_activating=False)
    assert await activating.after(unasked, end()) == end()
    assert led_to(root) is None
    for _ in range(2):  # as after a crash before the journal knew of the end
        done = await activating.after(recovered(root), end())
        assert (done.link, done.link_problem, led_to(root)) == (root.absolute(LINK), "", "200")


@pytest.mark.parametrize("result", [Result.FAILED, Result.CANCELLED])
async def test_what_a_recovery_did_not_place_does_not_become_active(
    activating: Activating, root: Root, result: Result
) -> None:
    assert await activating.after(recovered(root), end(result)) == end(result)
    assert led_to(root) is None


async def test_a_recovery_says_what_is_in_the_way_of_its_link(
    activating: Activating, root: Root
) -> None:
    write_precious(root)
    done = await activating.after(recovered(root), end())
    assert (done.result, done.link) == (Result.COMPLETE, "")
    assert "is no link, and is not replaced" in done.link_problem
    with pytest.raises(Conflict):
        await activating.check_free(root, NAME, "")
