"""Which directory is meant by a version that is to be active, and what links are taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from ckptd.control.messages.current_links import ActivateRequest, LinkRow
from ckptd.daemon.answer.activate_answers import ActivateAnswers
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.activating import Activating
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.named_places import NamedPlaces
from ckptd.errors import Conflict, NotFound, UsageError
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.life import LifeCause
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files

NAME = CheckpointName("llama/rank-0")


class NoRecoveries:
    """Recoveries, of which there are none."""

    book: Sequence[object] = ()

    def snapshots(self) -> Sequence[object]:
        return ()


class Answering:
    """What answers, and what it answers from."""

    def __init__(self, catalog: Catalog, root: Root) -> None:
        storage = cast("Storage", self)
        self.catalog, self.roots = catalog, Roots([root])
        recovering = cast("Recovering", NoRecoveries())
        self.standings = NamedPlaces(storage, recovering, lambda _: None)
        self.activating = Activating(catalog, self.roots, "{checkpoint}/current", {}, lambda: 5.0)
        self.answers = ActivateAnswers(storage, self.standings, self.activating)

    async def activate(self, version: int | None = 100, place: str | None = None) -> LinkRow:
        request = ActivateRequest(checkpoint=NAME, version=version, place=place)
        (row,) = (await self.answers.activate(request)).links
        return row

    def let_go(self, cause: LifeCause, version: int = 100) -> None:
        chosen = self.standings.chosen(NAME, Version(version), None)
        self.standings.check_permitted(chosen, cause)


@pytest.fixture
def here(catalog: Catalog, root: Root) -> Answering:
    return Answering(catalog, root)


async def put(catalog: Catalog, root: Root, directory: str, version: int = 100) -> int:
    write_files(Path(root.path, directory), {"weights": bytes([version])})
    held = await catalog.add(publish(root, directory, checkpoint=NAME, version=version))
    return held.places[-1].number


async def test_a_version_that_stands_once_is_meant(
    here: Answering, catalog: Catalog, root: Root
) -> None:
    await put(catalog, root, "llama/rank-0/100")
    await put(catalog, root, "llama/rank-0/101", 101)
    row = await here.activate()
    assert row.link == root.absolute("llama/rank-0/current")
    assert (row.version, row.version_before, row.is_new) == (100, None, True)
    assert (await here.activate(101)).version_before == 100
    assert not (await here.activate(101)).is_new


async def test_of_several_directories_one_that_is_right_is_meant(
    here: Answering, catalog: Catalog, root: Root
) -> None:
    first = await put(catalog, root, "one")
    await put(catalog, root, "two")
    with pytest.raises(UsageError, match=r"stands in several directories: .*/one, .*/two\. Say"):
        await here.activate()
    assert (await here.activate(place=root.absolute("two"))).directory == root.absolute("two")
    catalog.mark_changed(first, (0,), "changed")
    assert (await here.activate()).directory == root.absolute("two")


async def test_a_copy_for_others_is_never_what_readers_find(
    here: Answering, root: Root, database: Database
) -> None:
    here.roots.for_copies = root.name
    copied = Catalog(database, here.roots)
    await asyncio.to_thread(write_files, Path(root.path, "copy"), {"weights": bytes([100])})
    hashed = await asyncio.to_thread(publish, root, "copy", checkpoint=NAME, version=100)
    await copied.add(hashed, is_published=False)
    alone = Answering(copied, root)
    with pytest.raises(Conflict, match="is a copy for others"):
        await alone.activate()
    await put(copied, root, "published")
    assert (await alone.activate()).directory == root.absolute("published")


async def test_what_stands_nowhere_and_what_is_not_active_is_not_found(here: Answering) -> None:
    with pytest.raises(NotFound):
        await here.activate()
    with pytest.raises(NotFound, match="has no active version on this node"):
        await here.answers.activate(ActivateRequest(checkpoint=NAME, takes_away=True))


async def test_a_version_or_none_has_to_be_named(here: Answering) -> None:
    with pytest.raises(UsageError, match="needs a version"):
        await here.activate(None)
    with pytest.raises(UsageError, match="is for the link alone"):
        await here.answers.activate(ActivateRequest(checkpoint=NAME, version=100, takes_away=True))


async def test_a_link_that_is_taken_away_says_where_it_led(
    here: Answering, catalog: Catalog, root: Root
) -> None:
    await put(catalog, root, "llama/rank-0/100")
    await here.activate()
    away = ActivateRequest(checkpoint=NAME, takes_away=True)
    (row,) = (await here.answers.activate(away)).links
    assert (row.version, row.directory, row.version_before, row.is_new) == (None, None, 100, True)


@pytest.mark.parametrize("cause", [LifeCause.WITHDRAW, LifeCause.FORGET, LifeCause.REMOVE])
async def test_what_is_active_or_about_to_be_is_not_let_go(
    here: Answering, catalog: Catalog, root: Root, cause: LifeCause
) -> None:
    for version in (100, 101):
        await put(catalog, root, f"llama/rank-0/{version}", version)
        here.let_go(cause, version)
    await here.activate()
    with pytest.raises(Conflict, match=r"is active: .*current leads to it\. Activate another"):
        here.let_go(cause)
    here.let_go(cause, 101)
    (row,) = catalog.active.all()
    await catalog.active.intend(row._replace(directory="llama/rank-0/101", version=Version(101)))
    with pytest.raises(Conflict, match="is about to be active"):
        here.let_go(cause, 101)


async def test_what_becomes_active_while_it_is_let_go_stays_on_offer(
    here: Answering, catalog: Catalog, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both looked before the other one wrote anything down."""
    await put(catalog, root, "llama/rank-0/100")
    chosen = here.standings.chosen(NAME, Version(100), None)
    withdraw_all = catalog.withdraw_all

    async def after_activation(numbers: Sequence[int]) -> None:
        await here.activate()
        await withdraw_all(numbers)

    monkeypatch.setattr(catalog, "withdraw_all", after_activation)
    with pytest.raises(Conflict, match="is active"):
        await here.standings.withdraw(chosen, LifeCause.REMOVE)
    (held,) = catalog.versions()
    assert held.is_offered


async def test_what_was_let_go_first_does_not_become_active(
    here: Answering, catalog: Catalog, root: Root
) -> None:
    await put(catalog, root, "llama/rank-0/100")
    await here.standings.withdraw(here.standings.chosen(NAME, Version(100), None), LifeCause.REMOVE)
    with pytest.raises(Conflict, match="is withdrawn"):
        await here.activate()
    assert catalog.active.intended() == ()
