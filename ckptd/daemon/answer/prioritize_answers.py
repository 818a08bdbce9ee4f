"""Lets units go first, and says when a unit that somebody waits for can be read.

Priorities are not in the journal: after a restart of the daemon they have to be requested again.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncGenerator, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.roles import Caller
from ckptd.control.server.handing import Handing
from ckptd.core.events import UnitsPrioritized
from ckptd.daemon.answer.handed_units import HandedUnits, index_of
from ckptd.daemon.answer.recovery_answers import running
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError, Conflict, ContentChanged, NotFound, UsageError
from ckptd.limits import PATH_BYTES_MAX, SECOND
from ckptd.model.blocks import BlockSet, union
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.ids import RecoveryId
from ckptd.model.patterns import compile_pattern
from ckptd.model.space import AddressSpace
from ckptd.model.words import Result, Stage
from ckptd.store.published.places import HeldVersion, Place

_PROGRESS_NS: Final = SECOND
"""How often a stream reports progress."""

_NEAREST_MAX: Final = 5
"""How many similar names an error suggests."""

_COMPARED_MAX: Final = 2000
"""How many paths a name is compared with for that; each takes up to a tenth of a millisecond."""


class _Place(NamedTuple):
    """A unit of a recovery that has not ended."""

    recovery: OpenRecovery
    unit: str


class PrioritizeAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about units that go first.

    Args:
        recovering: All recoveries.
        storage: What is here.
    """

    def __init__(self, recovering: Recovering, storage: Storage) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._handed = HandedUnits(recovering.book, storage.catalog, storage.roots)

    async def prioritize(self, recovery: str, request: PrioritizeRequest) -> Prioritized:
        """Let the units of a recovery go first whose paths match.

        Raises:
            UsageError: The pattern is too long.
            NotFound: The recovery has ended or is not known, or no path matches.
            Conflict: The manifest is not here yet.
        """
        found, pattern = running(self._book, recovery), request.pattern
        if len(pattern.encode()) > PATH_BYTES_MAX:
            raise UsageError("pattern", f"has more than {PATH_BYTES_MAX} bytes")
        space = found.space
        if space is None:
            raise Conflict(
                f"recovery {found.id}",
                "does not know its units yet",
                f"Try again when it transfers: ckptctl watch {found.id}",
            )
        verified = self._scheduler.verified(found.id)
        blocks, prioritized = await asyncio.to_thread(_match, found.id, space, pattern, verified)
        self._report(UnitsPrioritized(found.id, blocks))
        return prioritized

    async def need(
        self, request: NeedRequest, caller: Caller, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Let one unit go first; yield progress once a second, and last where it can be read."""
        async with contextlib.aclosing(self._need(request)) as events:
            async for event in events:
                if isinstance(event, NeedResult) and request.with_descriptor:
                    handed = self._handed.hand_over(event, caller.uid, handing)
                    async with contextlib.aclosing(handed) as more:
                        async for each in more:
                            yield each
                else:
                    yield event

    async def _need(self, request: NeedRequest) -> AsyncGenerator[NeedEvent, None]:
        found = await self._find(request.path)
        if isinstance(found, NeedResult):
            yield found
            return
        recovery, name = found
        unit: int | None = None
        reported_ns: int | None = None
        while not recovery.ended.is_set():
            grown = recovery.grown  # taken before looking, so that nothing is missed
            if unit is None and recovery.space is not None:
                unit = await asyncio.to_thread(_find_unit, recovery, name)
                run = recovery.known_space().unit_run(unit)
                self._report(UnitsPrioritized(recovery.id, _blocks_of(run)))
                continue  # it may have ended meanwhile
            result = None if unit is None else self._result(recovery, name, unit)
            if result is not None:
                yield result
                return
            if reported_ns is None or self._now() - reported_ns >= _PROGRESS_NS:
                reported_ns = self._now()
                yield self._progress(recovery, name, unit)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROGRESS_NS / SECOND):
                    await grown.wait()
        yield await self._after_end(recovery, name)

    def _result(self, recovery: OpenRecovery, name: str, unit: int) -> NeedResult | None:
        """Say where a unit can be read; ``None`` while that is nowhere.

        What is returned is verified, durable and in the journal: a crash does not take it back.
        """
        stage = self._scheduler.stages()[recovery.id]
        if stage not in {Stage.TRANSFERRING, Stage.PLACING}:
            return None  # files may be missing, and those of an earlier run are being hashed
        staging = recovery.known_staging()
        if not _blocks_of(recovery.known_space().unit_run(unit)).issubset(staging.served.blocks):
            return None
        return NeedResult(
            recovery=recovery.id,
            unit=name,
            path=recovery.root.absolute(staging.path_of(unit)),
            is_placed=staging.is_placed,
        )

    def _progress(self, recovery: OpenRecovery, name: str, unit: int | None) -> NeedProgress:
        view = self._scheduler.recovery(recovery.id, now=self._now())
        assert view is not None, f"{recovery.id} has not ended"
        total = here = 0
        if unit is not None:
            space = recovery.known_space()
            blocks = _blocks_of(space.unit_run(unit))
            committed = self._scheduler.committed(recovery.id)
            total, here = space.set_bytes(blocks), space.set_bytes(blocks & committed)
        return NeedProgress(
            recovery=recovery.id,
            unit=name,
            is_prioritized=unit is not None,
            bytes_total=total,
            bytes_here=here,
            waiting_for=view.waiting_for,
        )

    async def _after_end(self, recovery: OpenRecovery, name: str) -> NeedResult:
        """Say where a unit is whose recovery ended meanwhile.

        Raises:
            NotFound: It came without the unit, or not at all.
        """
        ended = self._book.result(recovery.id)
        path = f"{recovery.target}/{name}"
        is_there = await asyncio.to_thread(recovery.root.stat, path) is not None
        if ended.result in {Result.COMPLETE, Result.PARTIAL} and is_there:
            where = recovery.root.absolute(path)
            return NeedResult(recovery=recovery.id, unit=name, path=where, is_placed=True)
        why = ended.message or ended.result.value
        raise NotFound(
            f"unit {name!r}",
            f"did not come: recovery {recovery.id} has ended: {why}",
            "Recover the version again.",
        )

    async def _find(self, path: str) -> _Place | NeedResult:
        """Return which unit of which recovery is meant, or where it is if it is here already."""
        if not path.startswith("/"):
            return await asyncio.to_thread(_find_by_unit, list(self._book), path)
        root, relative = self._roots.locate(path)
        for recovery in self._book:
            if recovery.root is root and recovery.target and _is_below(relative, recovery.target):
                return _Place(recovery, relative.removeprefix(f"{recovery.target}/"))
        obstacle: CkptdError | None = None
        for held, place in self._catalog.places_of(root.name):
            if _is_below(relative, place.directory):
                name = relative.removeprefix(f"{place.directory}/")
                is_held, why_not = await self._look_at(held, place, name)
                if is_held:
                    where = root.absolute(relative)
                    return NeedResult(recovery=None, unit=name, path=where, is_placed=True)
                obstacle = obstacle or why_not
        raise obstacle or NotFound(
            f"path {path}",
            "is no unit of a version that is here or being recovered",
            "See ckptctl recoveries for the targets, or begin with: ckptctl recover",
        )

    async def _look_at(
        self, held: HeldVersion, place: Place, name: str
    ) -> tuple[bool, CkptdError | None]:
        """Tell whether a unit is at a place, all of it; and if not, why not, if that is known."""
        encoded = await self._catalog.manifest_bytes(held.holding.digest)

        def look() -> tuple[bool, CkptdError | None]:
            space = AddressSpace(decode_manifest(encoded))
            unit = index_of(space.manifest, name)
            if unit is None:
                return False, None
            is_held = _blocks_of(space.unit_run(unit)).issubset(place.servable(space))
            return is_held, None if is_held else _obstacle(place, unit, name)

        return await asyncio.to_thread(look)


def _obstacle(place: Place, unit: int, name: str) -> CkptdError | None:
    """Say why a unit of a place cannot be had from there; ``None`` if it is not known."""
    if place.is_withdrawn:
        return None
    if unit in place.suspect:
        return Conflict(
            f"unit {name!r}",
            "looks different from what was published, and is hashed again first",
            "Try again in a moment; if it stays so, see ckptctl doctor.",
        )
    if unit in place.changed:
        return ContentChanged(
            f"unit {name!r}", "is not what was published", "Recover or publish it again."
        )
    return None


def _match(
    recovery: RecoveryId, space: AddressSpace, pattern: str, verified: BlockSet
) -> tuple[BlockSet, Prioritized]:
    """Return the blocks of the units whose paths match, and how much that is. Long for many.

    Raises:
        NotFound: No path matches.
    """
    is_meant = compile_pattern(pattern).match
    units = space.manifest.units
    found = [index for index, unit in enumerate(units) if is_meant(unit.path)]
    if not found:
        raise NotFound(f"pattern {pattern!r}", "matches no unit", _nearest(space, pattern))
    each = [_blocks_of(space.unit_run(unit)) for unit in found]
    blocks = union(each)
    return blocks, Prioritized(
        recovery=recovery,
        units=len(found),
        units_here=sum(run.issubset(verified) for run in each),
        bytes=space.set_bytes(blocks),
        bytes_here=space.set_bytes(blocks & verified),
    )


def _find_by_unit(recoveries: Sequence[OpenRecovery], path: str) -> _Place:
    """Return the one recovery that has a unit of this path.

    Raises:
        NotFound: None has.
        UsageError: More than one has.
    """
    path = posixpath.normpath(path)
    spaces = [(recovery, recovery.space) for recovery in recoveries if recovery.space is not None]
    found = [recovery for recovery, space in spaces if index_of(space.manifest, path) is not None]
    if not found:
        unknown = len(recoveries) - len(spaces)
        hint = "'ckptctl recoveries' lists what is running."
        if unknown:
            hint = f"{unknown} recoveries do not know their units yet; try again."
        elif len(spaces) == 1:
            hint = _nearest(spaces[0][1], path)
        raise NotFound(f"unit {path!r}", "is of no running recovery", hint)
    if len(found) > 1:
        targets = ", ".join(recovery.target_path for recovery in found[:_NEAREST_MAX])
        raise UsageError(
            f"unit {path!r}",
            f"is of {len(found)} running recoveries",
            f"Name it by where it will stand, below one of {targets}.",
        )
    return _Place(found[0], path)


def _find_unit(recovery: OpenRecovery, name: str) -> int:
    """Return a unit's index.

    Raises:
        NotFound: The version has no such unit.
    """
    space = recovery.known_space()
    unit = index_of(space.manifest, name)
    if unit is None:
        subject = f"unit {name!r}"
        raise NotFound(subject, f"is not in what {recovery.id} recovers", _nearest(space, name))
    return unit


def _nearest(space: AddressSpace, text: str) -> str:
    """Suggest units with similar names."""
    paths = [unit.path for unit in space.manifest.units[:_COMPARED_MAX]]
    near = get_close_matches(text, paths, _NEAREST_MAX) or paths[:_NEAREST_MAX]
    return f"It has, among others: {', '.join(near)}."


def _blocks_of(run: tuple[int, int]) -> BlockSet:
    return BlockSet((run,)) if run[0] < run[1] else BlockSet()


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")
