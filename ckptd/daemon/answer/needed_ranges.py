"""Lets ranges of units go before everything, and gives out their bytes as soon as they are here.

Bytes and no descriptors: through a descriptor of a file that is being fetched what is missing
would be read as zeros. What leaves was compared in memory with the digests of its blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import OrderedDict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
)
from ckptd.control.server.handing import Handing
from ckptd.core.events import ChoiceWidened, NeedEnded, RangeNeeded
from ckptd.daemon.answer.needed_units import (
    NeededUnits,
    UnitHere,
    UnitUnderWay,
    directory_of,
    index_of,
    no_such_unit,
)
from ckptd.daemon.answer.turns import Turns
from ckptd.daemon.answer.verified_bytes import places_of, read_held, read_staged
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import Conflict, ContentChanged, NotFound, UsageError
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NeedId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Stage

_CALLER_MAX: Final = 8
"""So many of one user are under way at once …"""
_ALL_MAX: Final = 16
"""… and so many of all: each has a piece in memory."""
_PIECE_BYTES: Final = 1 * MIB
"""So much is read, compared and sent at once, and at least a block."""
_THREADS: Final = 4
_LOOKS_MAX: Final = 3
"""A file that is moved meanwhile is looked for at its new place."""
_PROGRESS_S: Final = 1.0
_READER_CHARACTERS_MAX: Final = 64
_INDEXES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Bytes of a unit.

    Attributes:
        name: The unit's path.
        space: Of its version.
        unit: Its index there.
        start: The first byte in the unit.
        end: The byte behind the last.
    """

    name: str
    space: AddressSpace
    unit: int
    start: int
    end: int

    def blocks_at(self, position: int) -> tuple[int, int]:
        """Return the blocks of the piece that begins at a byte: its own, and those that fit."""
        first, _ = self.space.unit_run(self.unit)
        grain_bytes = self.space.manifest.units[self.unit].block_size_bytes
        start = first + position // grain_bytes
        at_most = max(_PIECE_BYTES // grain_bytes, 1)
        return start, min(start + at_most, first + (self.end - 1) // grain_bytes + 1)


class _UnitIndexes:
    """Where units are in their manifests: of those that were read last."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[weakref.ref[AddressSpace], int]] = OrderedDict()

    async def of(self, space: AddressSpace, name: str) -> int | None:
        """Return a unit's index; ``None`` if the manifest has no such unit."""
        known = self._found.get(name)
        if known is not None and known[0]() is space:
            return known[1]
        index = await asyncio.to_thread(index_of, space.manifest, name)
        if index is not None:
            self._found[name] = (weakref.ref(space), index)
            self._found.move_to_end(name)
            while len(self._found) > _INDEXES_MAX:
                self._found.popitem(last=False)
        return index


class NeededRanges:
    """Answers needs of ranges. Belongs to the event loop; bytes are read in threads.

    Args:
        recovering: All recoveries.
        storage: What is here.
        units: Finds what callers mean.
        leases: Takes who reads what.
    """

    def __init__(
        self, recovering: Recovering, storage: Storage, units: NeededUnits, leases: Leases
    ) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._catalog = storage.catalog
        self._units = units
        self._leases = leases
        self._turns = Turns()
        self._next_need = 0
        self._indexes = _UnitIndexes()
        self._threads = ThreadPoolExecutor(_THREADS, "reading")

    async def stream(
        self, request: NeedRequest, uid: int, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Yield progress, the bytes if they are wanted, and last a result.

        Args:
            request: Which range.
            uid: For whom.
            handing: Lets bytes follow a message.

        Raises:
            UsageError: There is no such range in the unit.
            Conflict: Too many are under way, or the unit is another one by now.
            NotFound: There is no such unit, or it did not come.
            ContentChanged: What stands here is not what was published.
            StorageError: The disk refused.
        """
        _check(request)
        with self._turn(uid):
            found = await self._units.find(request.path)
            read = directory_of(found)
            await self._leases.take(read)
            with self._leases.reading(read):
                async with contextlib.aclosing(self._found(found, request, handing)) as events:
                    async for event in events:
                        if isinstance(event, NeedResult):
                            await self._leases.take(directory_of(found))  # it is known by now
                        yield event

    async def _found(
        self, found: UnitUnderWay | UnitHere, request: NeedRequest, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Yield what comes of a range, wherever its unit is."""
        sent_bytes = 0
        if isinstance(found, UnitUnderWay):
            async with contextlib.aclosing(self._under_way(found, request, handing)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, NeedResult):
                        return
                    if isinstance(event, NeedBytes):
                        sent_bytes += event.size_bytes
            found = await self._after_end(found)
        async with contextlib.aclosing(self._here(found, request, handing, sent_bytes)) as rest:
            async for event in rest:
                yield event

    def _turn(self, uid: int) -> AbstractContextManager[None]:
        if self._turns.of(uid) >= _CALLER_MAX or self._turns.total() >= _ALL_MAX:
            raise Conflict(
                "ranges",
                f"that are waited for are {self._turns.total()} already",
                f"Ask again when one is here; {_CALLER_MAX} of one user are under way at once.",
            )
        return self._turns.take(uid)

    async def _under_way(
        self, found: UnitUnderWay, request: NeedRequest, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Yield what comes of a range of a recovery; no result if that ends before."""
        recovery, need = found.recovery, NeedId(self._next_need)
        self._next_need += 1
        arrived = recovery.readers[need] = asyncio.Event()
        try:
            async for event in self._wait_and_read(found, need, arrived, request, handing):
                yield event
        finally:
            del recovery.readers[need]
            self._report(NeedEnded(recovery.id, need))

    async def _wait_and_read(
        self,
        found: UnitUnderWay,
        need: NeedId,
        arrived: asyncio.Event,
        request: NeedRequest,
        handing: Handing,
    ) -> AsyncGenerator[NeedEvent, None]:
        """Yield what comes of a range of a recovery; see :meth:`_under_way`.

        Args:
            found: Which unit.
            need: Its name for the scheduler.
            arrived: Set when more of it is here.
            request: Which range.
            handing: Lets bytes follow a message.
        """
        recovery = found.recovery
        while recovery.space is None and not recovery.ended.is_set():
            yield self._progress(found, None, 0)
            await _set_within(recovery.grown)
        if recovery.space is None:
            return
        space = recovery.space
        unit = await self._indexes.of(space, found.unit)
        if unit is None:
            raise no_such_unit(recovery.id, space, found.unit)
        wanted = _wanted(request, found.unit, space, unit)
        position = wanted.start
        while position < wanted.end:
            run = wanted.blocks_at(position)
            self._report(
                ChoiceWidened(recovery.id, BlockSet.of_run(run)),
                RangeNeeded(recovery.id, need, request.reader, unit, position, wanted.end),
            )
            reported_ns: int | None = None
            while not (held := self._held_of(recovery, space, run)):
                arrived.clear()
                if recovery.ended.is_set():
                    return
                if recovery.space is not space:
                    raise _is_another(found.unit)
                if reported_ns is None or self._now() - reported_ns >= SECOND:
                    reported_ns = self._now()
                    yield self._progress(found, wanted, position)
                await _set_within(arrived)
            run = (run[0], run[0] + held)
            end = _byte_at(wanted, run[1])
            if request.with_bytes:
                data = await self._read(recovery, wanted, run)
                if data is None:
                    return
                part = _part(wanted, run, position, data)
                handing.follow(part)
                yield NeedBytes(offset=position, size_bytes=len(part))
            position = end
        yield NeedResult(
            recovery=recovery.id,
            unit=found.unit,
            path="",
            is_placed=False,
            stands_at=recovery.root.absolute(f"{recovery.target}/{found.unit}"),
            unit_bytes=space.manifest.units[unit].size_bytes,
            digest=space.manifest.units[unit].digest.hex(),
        )

    def _held_of(self, recovery: OpenRecovery, space: AddressSpace, run: tuple[int, int]) -> int:
        """Return how many blocks of a run, the first ones, are verified and in their file."""
        staging = recovery.staging
        stage = self._scheduler.stages().get(recovery.id)
        if staging is None or recovery.space is not space:
            return 0
        if stage not in {Stage.TRANSFERRING, Stage.PLACING}:
            return 0  # files may be missing, and those of an earlier run are being hashed
        start, end = run
        first_missing = (block for block in range(start, end) if block not in staging.held)
        return next(first_missing, end) - start

    async def _read(
        self, recovery: OpenRecovery, wanted: _Wanted, run: tuple[int, int]
    ) -> memoryview | None:
        """Return blocks that are held; ``None`` if the recovery has ended meanwhile."""
        places = places_of(wanted.space, *run)
        loop = asyncio.get_running_loop()
        for look in range(1, _LOOKS_MAX + 1):
            path = recovery.known_staging().path_of(wanted.unit)
            try:
                reading = partial(read_staged, recovery.root, path, places)
                return await loop.run_in_executor(self._threads, reading)
            except NotFound:
                if recovery.ended.is_set():
                    return None
                if look == _LOOKS_MAX:
                    raise
        raise AssertionError("the last look returns or raises")

    async def _after_end(self, found: UnitUnderWay) -> UnitHere:
        """Return where a unit stands whose recovery has ended.

        Raises:
            NotFound: It came without the unit, or not at all.
        """
        recovery = found.recovery
        ended = self._book.result(recovery.id)
        if ended.result.is_success:
            path = recovery.root.absolute(f"{recovery.target}/{found.unit}")
            here = await self._units.find(path)
            if isinstance(here, UnitHere):
                return here
        why = ended.message or ended.result.value
        raise NotFound(
            f"unit {found.unit!r}",
            f"did not come: recovery {recovery.id} has ended: {why}",
            "Recover the version again.",
        )

    async def _here(
        self, found: UnitHere, request: NeedRequest, handing: Handing, sent_bytes: int
    ) -> AsyncGenerator[NeedEvent, None]:
        """Yield a range of a unit that stands here.

        Args:
            found: Which unit.
            request: Which range.
            handing: Lets bytes follow a message.
            sent_bytes: So many of them were sent already.
        """
        served = await self._catalog.open_version(found.digest)
        unit = await self._indexes.of(served.space, found.unit)
        if unit is None:
            raise NotFound(f"unit {found.unit!r}", "is gone", "Recover the version again.")
        wanted = _wanted(request, found.unit, served.space, unit)
        position, path = wanted.start + sent_bytes, found.root.absolute(found.path)
        loop = asyncio.get_running_loop()
        while request.with_bytes and position < wanted.end:
            run = wanted.blocks_at(position)
            places = places_of(served.space, *run)
            if not served.holds(*_addresses(served.space, run)):
                raise ContentChanged(f"file {path}", "is not what was published")
            reading = partial(read_held, served, places, path)
            data = await loop.run_in_executor(self._threads, reading)
            part = _part(wanted, run, position, data)
            handing.follow(part)
            yield NeedBytes(offset=position, size_bytes=len(part))
            position += len(part)
        yield NeedResult(
            recovery=None,
            unit=found.unit,
            path=path,
            is_placed=True,
            stands_at=path,
            unit_bytes=served.space.manifest.units[unit].size_bytes,
            digest=served.space.manifest.units[unit].digest.hex(),
        )

    def _progress(self, found: UnitUnderWay, wanted: _Wanted | None, position: int) -> NeedProgress:
        view = self._scheduler.recovery(found.recovery.id, now=self._now())
        return NeedProgress(
            recovery=found.recovery.id,
            unit=found.unit,
            is_prioritized=wanted is not None,
            bytes_total=0 if wanted is None else wanted.end - wanted.start,
            bytes_here=0 if wanted is None else position - wanted.start,
            waiting_for="" if view is None else view.waiting_for,
        )


async def _set_within(event: asyncio.Event) -> None:
    """Return when an event is set, after a second at the latest."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PROGRESS_S):
            await event.wait()


def _check(request: NeedRequest) -> None:
    """Refuse what can be no range.

    Raises:
        UsageError: It is none.
    """
    if (request.offset or 0) < 0 or (request.length or 0) < 0:
        raise UsageError("range", "begins before the unit, or is shorter than nothing")
    if request.with_descriptor:
        raise UsageError("range", "is given out as bytes, not by a descriptor", "Use with_bytes.")
    if len(request.reader) > _READER_CHARACTERS_MAX:
        raise UsageError("reader", f"has more than {_READER_CHARACTERS_MAX} characters")


def _wanted(request: NeedRequest, name: str, space: AddressSpace, unit: int) -> _Wanted:
    """Return which bytes of a unit are asked for.

    Raises:
        UsageError: The unit does not have them.
        Conflict: It is another one than the caller knows.
    """
    facts = space.manifest.units[unit]
    if request.digest and request.digest != facts.digest.hex():
        raise _is_another(name)
    start = request.offset or 0
    end = facts.size_bytes if request.length is None else start + request.length
    if not start <= end <= facts.size_bytes:
        raise UsageError(
            f"bytes {start} to {end} of unit {name!r}", f"are not there: it has {facts.size_bytes}"
        )
    return _Wanted(name, space, unit, start, end)


def _is_another(name: str) -> Conflict:
    return Conflict(
        f"unit {name!r}", "is another one by now: another content was chosen", "Open it again."
    )


def _byte_at(wanted: _Wanted, block: int) -> int:
    """Return where in the unit a block begins, or where the range ends if that is before."""
    first, _ = wanted.space.unit_run(wanted.unit)
    inside = wanted.space.block_start(block) - wanted.space.block_start(first)
    return min(inside, wanted.end)


def _part(wanted: _Wanted, run: tuple[int, int], position: int, data: memoryview) -> memoryview:
    """Return of whole blocks what is wanted, from a byte on."""
    first = _byte_at(wanted, run[0])
    return data[position - first : _byte_at(wanted, run[1]) - first]


def _addresses(space: AddressSpace, run: tuple[int, int]) -> tuple[int, int]:
    return space.block_start(run[0]), space.block_start(run[1])
