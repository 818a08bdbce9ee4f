"""Lets the link of a checkpoint lead to a version, so that readers find that under one name.

Everything that takes time is done before: the version is looked at once more, the intention is in
the database, the new link lies beside the old one. Then it takes its place by one rename. Whoever
kills the daemon in between finds at the next start either the link as it was or as it was to be,
and then, because of the intention, as it was to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from ckptd.daemon.host.shortages import outlast
from ckptd.daemon.recover.activations import Activation, Activations, Deactivated, Swapped
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import CkptdError, Conflict, NotFound
from ckptd.model.ids import CheckpointName, Digest
from ckptd.model.life import LifeCause, is_permitted, life_at_place
from ckptd.model.shards import job_of
from ckptd.model.words import PlaceState, Result
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import current_link
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.staging.active_links import (
    check_as_made,
    is_so,
    swap_link,
    take_away,
    texts_of,
)
from ckptd.store.staging.current_link import CurrentLink, text_of
from ckptd.store.trees.ownership import Owner

_log = get_logger()


class Activating:
    """Swaps links. Belongs to the event loop; the links are touched in threads.

    Args:
        catalog: Which versions stand here, and which are active.
        roots: Where they stand.
        pattern: What ``[recovery] current`` says.
        owners: Whose directories become that are made for links, by root.
        wall_clock: Gives Unix time, for dates.

    Attributes:
        look: Looks at the files of a place at once; set before the first one is activated.
    """

    def __init__(
        self,
        catalog: Catalog,
        roots: Roots,
        pattern: str,
        owners: Mapping[str, Owner | None],
        wall_clock: Callable[[], float],
    ) -> None:
        self.look: Callable[[int], Awaitable[None]] = _look_at_nothing
        self._catalog = catalog
        self._records = catalog.active
        self._roots = roots
        self._pattern = pattern
        self._owners = owners
        self._wall_clock = wall_clock
        self._counts = Activations()
        self._lock = asyncio.Lock()

    def counts(self) -> Activations:
        """Return how often links were swapped."""
        self._counts.active = len(self._records.all())
        return self._counts

    async def activate(self, wanted: Activation, *, allow_partial: bool = False) -> Swapped:
        """Let the link of a checkpoint lead to a version.

        Args:
            wanted: Which.
            allow_partial: Also to one that lacks required units.

        Raises:
            NotFound: It does not stand there.
            Conflict: It is not right by what is known of it, or something else has the name of the
                link. Nothing was changed.
            StorageError: The disk refused.
        """
        try:
            # What was begun is brought to its end, whether or not somebody waits for it.
            done = await asyncio.shield(self._activate(wanted, allow_partial=allow_partial))
        except CkptdError as error:
            self._note_failure(wanted, error)
            raise
        if done.is_new:
            self._counts.done += 1
            _log.info(
                "version.activated", **self._facts(done.row), swap_ms=round(done.swap_ns / 1e6, 3)
            )
        return done

    async def _activate(self, wanted: Activation, *, allow_partial: bool) -> Swapped:
        async with self._lock:
            root, checkpoint = self._roots[wanted.root], wanted.checkpoint
            await self._resolve(root.name, checkpoint)
            link = current_link(self._pattern, checkpoint)
            before = self._records.known(root.name, checkpoint)
            self._check_link(root, link, before)
            for number in self._checked(wanted, allow_partial=allow_partial):
                await self.look(number)
            self._checked(wanted, allow_partial=allow_partial)
            row = ActiveVersion(
                root.name,
                checkpoint,
                link,
                wanted.directory,
                wanted.version,
                self._digest(wanted),
                self._wall_clock(),
            )
            await self._records.intend(row)
            try:
                # Nobody lets go of it from here on; somebody may have begun with that before.
                self._checked(wanted, allow_partial=allow_partial)
                swap_ns = await self._swap(row)
            except BaseException:
                await self._resolve(root.name, checkpoint)
                raise
            await self._records.settle(row)
            return Swapped(row, before, swap_ns is not None, swap_ns or 0)

    def _checked(self, wanted: Activation, *, allow_partial: bool) -> list[int]:
        """Check that a version is right by what is known of it; return the numbers of its places.

        Raises:
            NotFound: It does not stand there.
            Conflict: It is not, or not known to be.
        """
        found = self._standing(wanted)
        if not found:
            raise NotFound(
                f"{wanted.checkpoint}@{wanted.version}",
                f"does not stand in {self._roots.absolute(wanted.root, wanted.directory)}",
                "See 'ckptctl checkpoints'.",
            )
        for held, place in found:
            path = self._roots.absolute(place.root, place.directory)
            _check_ready(held, place, path, allow_partial=allow_partial)
        return [place.number for _, place in found]

    def _standing(self, wanted: Activation) -> list[tuple[HeldVersion, Place]]:
        """Return the version at its place; of a job, each shard that is there."""
        return [
            (held, place)
            for held, place in self._catalog.places_of(wanted.root)
            if place.directory == wanted.directory
            and held.holding.version == wanted.version
            and wanted.checkpoint in {held.holding.checkpoint, job_of(held.holding.checkpoint)}
        ]

    def _digest(self, wanted: Activation) -> Digest | None:
        """Return the identity of a version; ``None`` of shards of a job."""
        found = {held.holding for held, _ in self._standing(wanted)}
        own = {each.digest for each in found if each.checkpoint == wanted.checkpoint}
        return own.pop() if len(own) == 1 else None

    def _check_link(self, root: Root, link: str, before: ActiveVersion | None) -> None:
        """Check that a link may lie where it is to lie.

        Raises:
            Conflict: It would lie in a version, or an earlier configuration has put one elsewhere.
        """
        path = root.absolute(link)
        if before is not None and before.link != link:
            raise Conflict(
                f"link {path}",
                f"would be a second one: {root.absolute(before.link)} was made by another "
                "[recovery] current",
                f"Take that away first: ckptctl activate --none {before.checkpoint}",
            )
        for held, place in self._catalog.places_of(root.name):
            if f"{link}/".startswith(f"{place.directory}/".lstrip("/")):
                raise Conflict(
                    f"link {path}",
                    f"would lie in the directory of {_name(held)}",
                    "Name another one in [recovery] current.",
                )

    async def _swap(self, row: ActiveVersion) -> int | None:
        before = self._records.known(row.root, row.checkpoint)
        root, owner = self._roots[row.root], self._owners.get(row.root)
        return await asyncio.to_thread(swap_link, root, row, before, owner)

    async def _resolve(self, root_name: str, checkpoint: CheckpointName) -> None:
        """Find out what became of an intention that was not carried out to its end.

        A link that leads where it was to lead counts, any other one stays as it is. Where the disk
        does not say, the intention stays: both places count as active.
        """
        for row in self._records.intended():
            if (row.root, row.checkpoint) != (root_name, checkpoint):
                continue
            root, before = self._roots[row.root], self._records.known(row.root, row.checkpoint)
            if await asyncio.to_thread(is_so, root, row, before):
                await self._records.settle(row)
            else:
                await self._records.give_up(row)

    async def deactivate(self, row: ActiveVersion) -> Deactivated:
        """Take a link away; what it led to stays.

        Something else that has its name by now stays as well, and is ckptd's no more.

        Raises:
            NotFound: Its root is not configured.
            StorageError: The disk refused; nothing was changed.
        """
        done = await asyncio.shield(self._deactivate(row))
        _log.info("version.deactivated", **self._facts(row), left=done.left)
        return done

    async def _deactivate(self, row: ActiveVersion) -> Deactivated:
        async with self._lock:
            root = self._roots[row.root]
            await self._resolve(row.root, row.checkpoint)
            known = self._records.known(row.root, row.checkpoint) or row
            away = known._replace(
                directory=None, version=None, digest=None, at_s=self._wall_clock()
            )
            await self._records.intend(away)
            try:
                left = await asyncio.to_thread(take_away, root, known)
            except BaseException:
                await self._resolve(row.root, row.checkpoint)
                raise
            await self._records.settle(away)
            return Deactivated(known, left)

    async def check_free(self, root: Root, checkpoint: CheckpointName, target: str) -> None:
        """Check that nothing is in the way of the link of a checkpoint, before work is done for it.

        Args:
            root: Where it will lie.
            checkpoint: Whose link.
            target: Where it is to lead, relative to the root; empty: not known yet.

        Raises:
            Conflict: Something is.
            StorageError: The disk refused.
        """
        before = self._records.known(root.name, checkpoint)
        link = current_link(self._pattern, checkpoint)
        self._check_link(root, link, before)
        intended = [row for row in self._records.intended() if row.checkpoint == checkpoint]
        ours = texts_of(before, *intended) | ({text_of(link, target)} if target else set())
        await asyncio.to_thread(CurrentLink(root, link).check, ours)

    async def after(self, recovery: OpenRecovery, ended: EndedRecovery) -> EndedRecovery:
        """Activate what a recovery has placed, if that was asked for.

        The journal knows the recovery until this is done. So a crash in between leaves it, and it
        comes to this point once more.

        Args:
            recovery: What has ended.
            ended: How.

        Returns:
            The same, with what became of the link.
        """
        record = recovery.record
        if not record.is_activating or ended.version is None or not ended.result.is_success:
            return ended
        wanted = Activation(record.checkpoint, ended.version, recovery.root.name, recovery.target)
        is_by_choice = ended.result is Result.CHOSEN
        try:
            done = await outlast(
                lambda: self.activate(wanted, allow_partial=is_by_choice),
                f"link of {record.checkpoint}",
            )
        except CkptdError as error:
            return _with(ended, link_problem=str(error))
        return _with(ended, link=recovery.root.absolute(done.row.link))

    async def go_on(self) -> None:
        """Carry out what an earlier life intended; say which links are not as they were made."""
        for row in self._records.intended():
            try:
                await self._carry_out(row)
            except CkptdError as error:
                self._note_failure(row, error)
        for row in self._records.all():
            try:
                await asyncio.to_thread(check_as_made, self._roots[row.root], row)
            except CkptdError as error:
                _log.warning("version.link_changed", **self._facts(row), why=str(error))

    async def _carry_out(self, row: ActiveVersion) -> None:
        if row.directory is None or row.version is None:
            known = self._records.known(row.root, row.checkpoint)
            await (self._records.give_up(row) if known is None else self.deactivate(known))
            return
        await self._catalog.see_family(row.checkpoint)
        wanted = Activation(row.checkpoint, row.version, row.root, row.directory)
        async with self._lock:
            try:
                self._checked(wanted, allow_partial=True)  # what it may lack was decided
                await self._swap(row)
            except (Conflict, NotFound):
                await self._resolve(row.root, row.checkpoint)
                raise
            await self._records.settle(row)
        self._counts.done += 1
        _log.info("version.activated", **self._facts(row), why="an earlier life had begun with it")

    def _note_failure(self, wanted: Activation | ActiveVersion, error: CkptdError) -> None:
        self._counts.failed += 1
        _log.warning(
            "version.not_activated",
            checkpoint=wanted.checkpoint,
            version=wanted.version,
            why=str(error),
        )

    def _facts(self, row: ActiveVersion) -> dict[str, object]:
        return {
            "checkpoint": row.checkpoint,
            "version": row.version,
            "digest": row.digest,
            "link": self._roots.absolute(row.root, row.link),
            "directory": self._roots.absolute(row.root, row.directory or ""),
        }


async def _look_at_nothing(_: int) -> None:
    return


def _with(ended: EndedRecovery, *, link: str = "", link_problem: str = "") -> EndedRecovery:
    return msgspec.structs.replace(ended, link=link, link_problem=link_problem)


def _check_ready(held: HeldVersion, place: Place, path: str, *, allow_partial: bool) -> None:
    """Check that a version is right at a place by what is known of it.

    Args:
        held: The version.
        place: Where it stands.
        path: That as a person writes it.
        allow_partial: It may lack required units.

    Raises:
        Conflict: It is not, or not known to be.
    """
    name, subject = _name(held), f"{_name(held)} in {path}"
    if place.is_copy:
        problem = "is a copy for others, which goes when it is too much"
        raise Conflict(subject, problem, f"Recover it for readers: ckptctl recover {name}")
    life = life_at_place(is_active=False, is_withdrawn=place.is_withdrawn)
    if not is_permitted(life, LifeCause.ACTIVATE):
        raise Conflict(subject, f"is {life}", "Publish the directory again, then activate it.")
    look = f"Wait until 'ckptctl checkpoints' says that it is here, or: ckptctl verify {name}"
    recover = f"ckptctl recover {name} --to {path}"
    match place.state:
        case PlaceState.HERE:
            return
        case PlaceState.UNSEEN:
            raise Conflict(subject, "was not looked at since ckptd started", look)
        case PlaceState.SUSPECT:
            count = f"{len(place.suspect)} of {place.unit_count} units"
            raise Conflict(subject, f"is suspect: {count} are to be hashed again", look)
        case PlaceState.PARTIAL | PlaceState.CHOSEN:
            if allow_partial:
                return
            problem = f"lacks {len(place.lacking)} of {place.unit_count} units"
            hint = f"Permit that with --partial, or bring the rest: {recover}"
            raise Conflict(subject, problem, hint)
        case _:
            problem = f"is {place.state}: {place.reason}"
            raise Conflict(subject, problem, f"Put it right: {recover}")


def _name(held: HeldVersion) -> str:
    """Return a version as a person writes it."""
    return f"{held.holding.checkpoint}@{held.holding.version}"
