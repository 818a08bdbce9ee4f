"""Lets units go first, and says when a unit that somebody waits for can be read.

Priorities are not in the journal: after a restart of the daemon they have to be requested again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
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
from ckptd.core.events import ChoiceWidened, UnitsPrioritized
from ckptd.daemon.answer.handed_units import HandedUnits
from ckptd.daemon.answer.needed_ranges import NeededRanges
from ckptd.daemon.answer.needed_units import (
    NeededUnits,
    UnitHere,
    UnitUnderWay,
    directory_of,
    find_unit,
    nearest,
)
from ckptd.daemon.answer.recovery_answers import running
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import Conflict, NotFound, UsageError
from ckptd.limits import PATH_BYTES_MAX, SECOND
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import RecoveryId
from ckptd.model.patterns import compile_pattern
from ckptd.model.space import AddressSpace
from ckptd.model.words import Stage
from ckptd.store.files.layout import compressed

_PROGRESS_NS: Final = SECOND
"""How often a stream reports progress."""


class _Standing(NamedTuple):
    """Which blocks of a recovery are here, and which nobody asked for."""

    verified: BlockSet
    unchosen: BlockSet


class PrioritizeAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about units that go first.

    Args:
        recovering: All recoveries.
        storage: What is here.
        leases: Takes who reads what.
    """

    def __init__(self, recovering: Recovering, storage: Storage, leases: Leases) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._units = NeededUnits(recovering.book, storage.catalog, storage.roots)
        self._ranges = NeededRanges(recovering, storage, self._units, leases)
        self._leases = leases
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
        standing = _Standing(self._scheduler.verified(found.id), self._scheduler.unchosen(found.id))
        blocks, prioritized = await asyncio.to_thread(_match, found.id, space, pattern, standing)
        self._report(UnitsPrioritized(found.id, blocks))
        return prioritized

    async def need(
        self, request: NeedRequest, caller: Caller, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Let one unit go first; yield progress once a second, and last where it can be read.

        Of a range that is asked for come its bytes.
        """
        if request.offset is not None:
            ranges = self._ranges.stream(request, caller.uid, handing)
            async with contextlib.aclosing(ranges) as pieces:
                async for piece in pieces:
                    yield piece
            return
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
        found = await self._units.find(request.path)
        read = directory_of(found)
        await self._leases.take(read)
        with self._leases.reading(read):
            async with contextlib.aclosing(self._found(found)) as events:
                async for event in events:
                    if isinstance(event, NeedResult):
                        await self._leases.take(directory_of(found))  # it is known by now
                    yield event

    async def _found(self, found: UnitUnderWay | UnitHere) -> AsyncGenerator[NeedEvent, None]:
        """Yield what comes of a unit, and last where it can be read.

        Raises:
            Conflict: It stands here, and only compressed.
        """
        if isinstance(found, UnitHere):
            where = found.root.absolute(found.path)
            if found.is_compressed:
                raise Conflict(
                    f"unit {found.unit!r}",
                    f"is kept compressed, in a copy: {compressed(where)}",
                    "Recover its version to where it is to be read: ckptctl recover",
                )
            yield NeedResult(recovery=None, unit=found.unit, path=where, is_placed=True)
            return
        recovery, name = found
        unit: int | None = None
        reported_ns: int | None = None
        while not recovery.ended.is_set():
            grown = recovery.grown  # taken before looking, so that nothing is missed
            if unit is None and recovery.space is not None:
                unit = await asyncio.to_thread(find_unit, recovery, name)
                run = recovery.known_space().unit_run(unit)
                blocks = BlockSet.of_run(run)
                self._report(
                    ChoiceWidened(recovery.id, blocks), UnitsPrioritized(recovery.id, blocks)
                )
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
        blocks = BlockSet.of_run(recovery.known_space().unit_run(unit))
        if not blocks.issubset(staging.served.blocks):
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
            blocks = BlockSet.of_run(space.unit_run(unit))
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
        if ended.result.is_success and is_there:
            where = recovery.root.absolute(path)
            return NeedResult(recovery=recovery.id, unit=name, path=where, is_placed=True)
        why = ended.message or ended.result.value
        raise NotFound(
            f"unit {name!r}",
            f"did not come: recovery {recovery.id} has ended: {why}",
            "Recover the version again.",
        )


def _match(
    recovery: RecoveryId, space: AddressSpace, pattern: str, standing: _Standing
) -> tuple[BlockSet, Prioritized]:
    """Return the blocks of the units whose paths match, and how much that is. Long for many.

    Args:
        recovery: Which recovery.
        space: What its version consists of.
        pattern: Of paths.
        standing: Which blocks are here, and which are not wanted.

    Raises:
        NotFound: No path matches, or none of a unit that is wanted.
    """
    verified, unchosen = standing
    is_meant = compile_pattern(pattern).match
    units = space.manifest.units
    found = [index for index, unit in enumerate(units) if is_meant(unit.path)]
    if not found:
        raise NotFound(f"pattern {pattern!r}", "matches no unit", nearest(space, pattern))
    each = [BlockSet.of_run(space.unit_run(unit)) for unit in found]
    if unchosen:
        each = [run for run in each if not run.meets(unchosen)]
    if not each:
        name = f"{space.manifest.checkpoint}@{space.manifest.version}"
        raise NotFound(
            f"pattern {pattern!r}",
            "matches only units that nobody asked for",
            f"Ask for them: ckptctl recover {name} --units '{pattern}'",
        )
    blocks = union(each)
    return blocks, Prioritized(
        recovery=recovery,
        units=len(each),
        units_here=sum(run.issubset(verified) for run in each),
        bytes=space.set_bytes(blocks),
        bytes_here=space.set_bytes(blocks & verified),
    )
