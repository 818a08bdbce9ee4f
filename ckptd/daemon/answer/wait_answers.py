"""Says when a version is placed here, or as much of it as somebody waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from ckptd.control.messages.waiting import WaitEvent, WaitProgress, WaitRequest, WaitResult
from ckptd.control.roles import Caller
from ckptd.core.report.views import RecoverySnapshot
from ckptd.daemon.answer.awaited import Awaited
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.answer.reaching import Reaching, judge
from ckptd.daemon.answer.recovery_views import result_of
from ckptd.daemon.answer.turns import Turns
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.goals import Goal
from ckptd.model.quantities import format_duration, format_size

_LOOK_S: Final = 0.25
"""What a recovery places is seen at once, anything else this much later at most."""
_PROGRESS_S: Final = 1.0
_NEWEST_S: Final = 1.0
"""Between two looks which version is the newest."""
_CALLER_MAX: Final = 8
_ALL_MAX: Final = 16
"""So many streams are kept open, of one user and of all: half of the connections of the socket. Who
comes on top is answered at once, and asks again."""


class WaitAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about versions that are waited for.

    Args:
        storage: What stands here.
        recovering: All recoveries.
        proven: Says which version of a job is the newest.
    """

    def __init__(self, storage: Storage, recovering: Recovering, proven: ProvenVersions) -> None:
        self._storage = storage
        self._recovering = recovering
        self._proven = proven
        self._turns = Turns()

    async def wait(self, request: WaitRequest, caller: Caller) -> AsyncGenerator[WaitEvent, None]:
        """Yield what is waited for whenever that changes, and each second; last one result.

        Where too many wait the stream ends after the first message.

        Raises:
            UsageError: The goal, or the name, is none.
        """
        awaited = Awaited(request, self._storage, self._recovering, self._proven)
        began_ns, said_ns = self._recovering.runtime.now(), None
        is_full = self._turns.of(caller.uid) >= _CALLER_MAX or self._turns.total() >= _ALL_MAX
        turn: AbstractContextManager[None] = nullcontext()
        if not is_full:
            turn = self._turns.take(caller.uid)
        said: WaitProgress | None = None
        with turn, _beside(self._keep_looking(awaited)):
            if is_full:
                await asyncio.sleep(_LOOK_S)
            else:
                await _see_soon(awaited)
            while True:
                before = self._storage.catalog.change_count
                sight, seen = await awaited.look()
                found = judge(sight, seen, through_failures=request.through_failures)
                now_ns = self._recovering.runtime.now()
                if not found.waiting_for:
                    yield self._result(request, found, now_ns - began_ns)
                    return
                progress = self._progress(found, awaited.goal)
                is_due = said_ns is None or now_ns - said_ns >= _PROGRESS_S * SECOND
                if is_due or said is None or said.waiting_for != progress.waiting_for:
                    yield progress
                    said, said_ns = progress, now_ns
                if is_full:
                    return
                await self._change_since(before)

    async def _change_since(self, before: int) -> None:
        """Wait until the catalog changes with what a recovery does, but not long."""
        catalog = self._storage.catalog
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await self._recovering.runtime.wait_until(lambda: catalog.change_count != before)

    async def _keep_looking(self, awaited: Awaited) -> None:
        """Have looked at what stands here and was not yet; keep an eye on the newest version."""
        with contextlib.suppress(CkptdError):  # then it stays unseen, and nobody says it is here
            await self._storage.catalog.see_family(awaited.name)
        while True:
            with contextlib.suppress(CkptdError):  # then it stays as it was seen last
                await awaited.see_newest()
            await asyncio.sleep(_NEWEST_S)

    def _progress(self, found: Reaching, goal: Goal) -> WaitProgress:
        snapshot = None
        opened = None if found.recovery is None else self._recovering.book.get(found.recovery)
        if opened is not None:
            now = self._recovering.runtime.now()
            snapshot = self._recovering.scheduler.recovery(opened.id, now=now)
        if snapshot is None:
            return WaitProgress(waiting_for=found.waiting_for, version=found.version)
        eta_ns = snapshot.eta_ns
        return WaitProgress(
            waiting_for=found.waiting_for,
            detail=_detail(snapshot, goal),
            version=found.version,
            recovery=snapshot.recovery,
            stage=snapshot.stage,
            bytes_left=_left_bytes(snapshot, goal) if snapshot.units_total else None,
            eta_s=None if eta_ns is None else round(eta_ns / SECOND, 1),
        )

    def _result(self, request: WaitRequest, found: Reaching, waited_ns: int) -> WaitResult:
        ended, place = found.ended, found.place
        book = self._recovering.book
        return WaitResult(
            checkpoint=request.checkpoint,
            goal=request.goal,
            is_reached=place is not None,
            version=found.version,
            digest=place.digest if place else "",
            directory=place.directory if place else "",
            why=found.why_not,
            ended=None if ended is None else result_of(book.result(ended.recovery)),
            waited_s=round(waited_ns / SECOND, 3),
        )


async def _see_soon(awaited: Awaited) -> None:
    """Learn which version is the newest before the first answer, for who looks once."""
    with contextlib.suppress(CkptdError, TimeoutError):
        async with asyncio.timeout(_LOOK_S):
            await awaited.see_newest()


@contextlib.contextmanager
def _beside(work: Coroutine[object, object, None]) -> Iterator[None]:
    """Let something run for as long as the context lasts."""
    # No TaskGroup: a generator that is closed between two messages cannot leave one.
    task = asyncio.ensure_future(work)  # noqa: TID251 -- ends with the stream
    try:
        yield
    finally:
        task.cancel()


def _left_bytes(snapshot: RecoverySnapshot, goal: Goal) -> int:
    """Return what is missing of what is waited for: of a phase also of those before it."""
    left_bytes = 0
    for phase in snapshot.phases:
        left_bytes += phase.left_bytes
        if phase.name == goal.phase:
            return left_bytes
    return snapshot.total_bytes - snapshot.verified_bytes


def _detail(snapshot: RecoverySnapshot, goal: Goal) -> str:
    """Say how far a recovery is, or why it does not go on."""
    if snapshot.waiting_for:
        return f"it waits for {snapshot.waiting_for}"
    if not snapshot.units_total:
        return ""
    left = format_size(_left_bytes(snapshot, goal))
    if goal.phase:
        return f"{left} left up to phase {goal.phase}"
    eta_ns = snapshot.eta_ns
    return f"{left} left" + ("" if eta_ns is None else f", ETA {format_duration(eta_ns / SECOND)}")
