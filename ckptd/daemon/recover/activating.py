"""Lets the link of a checkpoint lead to a version, so that readers find that under one name.

Everything that takes time is done before: the version is looked at once more, the intention is in
the database, the new link lies beside the old one. Then it takes its place by one rename. Whoever
kills the daemon in between finds at the next start either the link as it was or as it was to be,
and then, because of the intention, as it was to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from ckptd.daemon.host.shortages import outlast
from ckptd.daemon.recover.ready_places import check_ready, name_of
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import CkptdError, Conflict, NotFound
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.shards import job_of
from ckptd.model.words import Result
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, counter, gauge
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


class Candidate(NamedTuple):
    """What is to become active.

    Attributes:
        checkpoint: Whose link is to lead there: a checkpoint, or a job.
        version: Which version.
        root: Name of the root it stands in …
        directory: … and its directory there. Of a job the shards that stand in it.
    """

    checkpoint: CheckpointName
    version: Version
    root: str
    directory: str


class Activated(NamedTuple):
    """A link that leads where it was to lead.

    Attributes:
        row: Where that is.
        before: Where it led before; ``None``: there was none.
        is_new: It led elsewhere, or nowhere.
        swap_ns: How long it took from the first change of the link until that was durable.
    """

    row: ActiveVersion
    before: ActiveVersion | None
    is_new: bool
    swap_ns: int


class Deactivated(NamedTuple):
    """A link that ckptd keeps no more.

    Attributes:
        row: Where it led.
        left: Why what stands at its name was left there; empty if nothing stands there.
    """

    row: ActiveVersion
    left: str


@dataclass(slots=True)
class Activations:
    """How often links were swapped, and how many there are.

    Attributes:
        done: How often one was.
        failed: How often one was to be and was not.
        active: How many links lead to a version.
    """

    done: int = 0
    failed: int = 0
    active: int = 0


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

    async def activate(self, candidate: Candidate, *, allow_partial: bool = False) -> Activated:
        """Let the link of a checkpoint lead to a version.

        Args:
            candidate: Which.
            allow_partial: Also to one that lacks required units.

        Raises:
            NotFound: It does not stand there.
            Conflict: It is not right by what is known of it, or something else has the name of the
                link. Nothing was changed.
            StorageError: The disk refused.
        """
        try:
            # What was begun is brought to its end, whether or not somebody waits for it.
            done = await asyncio.shield(self._activate(candidate, allow_partial=allow_partial))
        except CkptdError as error:
            self._note_failure(candidate, error)
            raise
        if done.is_new:
            self._counts.done += 1
            _log.info(
                "version.activated", **self._facts(done.row), swap_ms=round(done.swap_ns / 1e6, 3)
            )
        return done

    async def _activate(self, candidate: Candidate, *, allow_partial: bool) -> Activated:
        async with self._lock:
            root, checkpoint = self._roots[candidate.root], candidate.checkpoint
            await self._resolve(root.name, checkpoint)
            link = current_link(self._pattern, checkpoint)
            before = self._records.known(root.name, checkpoint)
            self._check_link(root, link, before)
            for number in self._checked(candidate, allow_partial=allow_partial):
                await self.look(number)
            self._checked(candidate, allow_partial=allow_partial)
            row = ActiveVersion(
                root.name,
                checkpoint,
                link,
                candidate.directory,
                candidate.version,
                self._digest(candidate),
                self._wall_clock(),
            )
            await self._records.intend(row)
            try:
                # Nobody lets go of it from here on; somebody may have begun with that before.
                self._checked(candidate, allow_partial=allow_partial)
                swap_ns = await self._swap(row)
            except BaseException:
                await self._resolve(root.name, checkpoint)
                raise
            await self._records.settle(row)
            return Activated(row, before, swap_ns is not None, swap_ns or 0)

    def _checked(self, candidate: Candidate, *, allow_partial: bool) -> list[int]:
        """Check that a version is right by what is known of it; return the numbers of its places.

        Raises:
            NotFound: It does not stand there.
            Conflict: It is not, or not known to be.
        """
        found = self._standing(candidate)
        if not found:
            raise NotFound(
                f"{candidate.checkpoint}@{candidate.version}",
                f"does not stand in {self._roots.absolute(candidate.root, candidate.directory)}",
                "See 'ckptctl checkpoints'.",
            )
        for held, place in found:
            path = self._roots.absolute(place.root, place.directory)
            check_ready(held, place, path, allow_partial=allow_partial)
        return [place.number for _, place in found]

    def _standing(self, candidate: Candidate) -> list[tuple[HeldVersion, Place]]:
        """Return the version at its place; of a job, each shard that is there."""
        return [
            (held, place)
            for held, place in self._catalog.places_of(candidate.root)
            if place.directory == candidate.directory
            and held.holding.version == candidate.version
            and candidate.checkpoint in {held.holding.checkpoint, job_of(held.holding.checkpoint)}
        ]

    def _digest(self, candidate: Candidate) -> Digest | None:
        """Return the identity of a version; ``None`` of shards of a job."""
        found = {held.holding for held, _ in self._standing(candidate)}
        own = {each.digest for each in found if each.checkpoint == candidate.checkpoint}
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
                    f"would lie in the directory of {name_of(held)}",
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
        candidate = Candidate(record.checkpoint, ended.version, recovery.root.name, recovery.target)
        is_by_choice = ended.result is Result.CHOSEN
        try:
            done = await outlast(
                lambda: self.activate(candidate, allow_partial=is_by_choice),
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
        candidate = Candidate(row.checkpoint, row.version, row.root, row.directory)
        async with self._lock:
            try:
                self._checked(candidate, allow_partial=True)  # what it may lack was decided
                await self._swap(row)
            except (Conflict, NotFound):
                await self._resolve(row.root, row.checkpoint)
                raise
            await self._records.settle(row)
        self._counts.done += 1
        _log.info("version.activated", **self._facts(row), why="an earlier life had begun with it")

    def _note_failure(self, wanted: Candidate | ActiveVersion, error: CkptdError) -> None:
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


ACTIVE_METRICS: Final[Sequence[MetricRow[Activations]]] = (
    gauge(
        "active_versions",
        "Links that lead to the active version of a checkpoint.",
        lambda counts: counts.active,
    ),
    counter("activations", "How often such a link was swapped.", lambda counts: counts.done),
    counter(
        "failed_activations",
        "How often a version was to become active and did not.",
        lambda counts: counts.failed,
    ),
)
