"""Asks for what ``[[recover]]`` in the configuration names: at the start, or when it is missing.

What is asked for is a recovery as any other, in the background, so that the rules of ``[recovery]``
count: nothing is overwritten, nothing older comes than what this node had, and of several contents
of a version none is taken unless ``on_conflict`` says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from ckptd.config.recover_tables import RecoverTable
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.daemon.answer.job_shards import JobShards, named_shards
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError, NotFound
from ckptd.model.ids import CheckpointName, RecoveryId, Version
from ckptd.model.shards import WantedShards, split_shard
from ckptd.model.words import RecoverAt, Stage
from ckptd.observe.logs import get_logger
from ckptd.store.records.configured_records import AskedRow

_LOOK_S: Final = 2.0
"""How often it is looked whether there is something to ask for."""
_NEED_LOOK_S: Final = 0.5
"""How often it is looked whether what is recovered came otherwise. Nothing of a job is placed
within a second of the choice of its version."""
_BEFORE_PLACING: Final = (Stage.SEEKING, Stage.DESCRIBING, Stage.PREPARING, Stage.TRANSFERRING)
_PAUSE_MIN_S: Final = 5.0
"""From the end of a recovery to the next one: whoever removes a version again and again does not
keep the network busy."""
_PAUSE_MAX_S: Final = 900.0
"""The pause doubles with each failure up to this: who mends something waits no longer."""

_log = get_logger()


def is_to_ask(
    at: RecoverAt, *, is_asked: bool, is_under_way: bool, is_here: bool, wait_s: float
) -> bool:
    """Decide whether a recovery is asked for now.

    Args:
        at: When the configuration wants it.
        is_asked: It was asked for in this boot of the machine.
        is_under_way: One of that checkpoint is under way, whoever asked for it.
        is_here: Something of the checkpoint stands here; of a job all shards that are wanted.
        wait_s: How long the pause since the last one still is.
    """
    if is_under_way or wait_s > 0:
        return False
    return not (is_asked if at is RecoverAt.START else is_here)


def is_needless(at: RecoverAt, stage: Stage, *, is_background: bool, is_here: bool) -> bool:
    """Decide whether a recovery that was asked for is given up.

    Args:
        at: When the configuration wants it.
        stage: How far it is.
        is_background: Nobody else has asked for it.
        is_here: What it is to bring stands here, at another place than where it will.
    """
    return at is RecoverAt.MISSING and is_background and is_here and stage in _BEFORE_PLACING


def pause_s(failures: int) -> float:
    """Return how long to wait after a recovery that ended, or could not begin.

    Args:
        failures: How many have failed, one after the other.
    """
    return float(min(_PAUSE_MIN_S * 2 ** min(failures, 16), _PAUSE_MAX_S))


def stands_here(
    checkpoint: CheckpointName,
    wanted: WantedShards | None,
    standing: Iterable[tuple[CheckpointName, Version]],
) -> bool:
    """Return whether something of a checkpoint stands here, whatever its state.

    Args:
        checkpoint: Its name, or that of a job.
        wanted: Which shards of the job, all of one version; ``None``: it is no job.
        standing: All versions of which something stands here.
    """
    if wanted is None:
        return any(name == checkpoint for name, _ in standing)
    found: defaultdict[tuple[Version, int], set[int]] = defaultdict(set)
    for name, version in standing:
        split = split_shard(name)
        if split is not None and split[0] == checkpoint:
            found[version, split[1].count].add(split[1].index)
    return any(
        wanted.count in {None, count}
        and (len(numbers) == count if wanted.numbers is None else wanted.numbers <= numbers)
        for (_, count), numbers in found.items()
    )


class _Unmet(NamedTuple):
    """Why what is asked for did not come, and which recovery said so, if one began."""

    why: str
    recovery: RecoveryId | None


class ConfiguredRecoveries:
    """Asks until cancelled.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        recoveries: Begins them.
        clock: The moment in seconds, by a clock that never jumps.
    """

    def __init__(
        self,
        parts: Parts,
        recovering: Recovering,
        recoveries: RecoveryAnswers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables = parts.config.recover
        self._boot = parts.boot
        self._catalog = parts.storage.catalog
        self._roots = parts.storage.roots
        self._records = parts.storage.configured
        self._book = recovering.book
        self._shards = JobShards(parts.storage.catalog, recovering)
        self._recoveries = recoveries
        self._clock = clock
        self._unmet: dict[CheckpointName, _Unmet] = {}

    async def load(self) -> None:
        """Take over what earlier lives of the daemon asked for.

        Raises:
            StorageError: The database cannot be read.
        """
        await self._records.load()

    async def run(self) -> None:
        """Ask for what is to be here, each on its own."""
        async with asyncio.TaskGroup() as tasks:
            for table in self._tables:
                tasks.create_task(self._follow(table), name=f"recover {table.checkpoint}")

    def unmet(self) -> dict[str, str]:
        """Return why what the configuration asks for did not come, by checkpoint or job."""
        return {
            name: unmet.why
            for name, unmet in self._unmet.items()
            if not self._came_since(name, unmet)
        }

    async def _follow(self, table: RecoverTable) -> None:
        recovery = self._asked_before(table)
        failures, not_before_s = 0, self._clock()
        while True:
            if recovery is not None:
                why = await self._outcome(table, recovery)
                failures = failures + 1 if why else 0
                not_before_s = self._clock() + pause_s(failures)
                self._say(table, why, recovery)
                if table.at is RecoverAt.START:
                    return
                recovery = None
            is_here = table.at is RecoverAt.MISSING and self._is_here(table)
            if is_here:
                failures = 0
                self._unmet.pop(table.checkpoint, None)
            if is_to_ask(
                table.at,
                is_asked=self._is_asked(table),
                is_under_way=self._is_under_way(table),
                is_here=is_here,
                wait_s=not_before_s - self._clock(),
            ):
                recovery = await self._ask(table)
                if recovery is None:
                    failures += 1
                    not_before_s = self._clock() + pause_s(failures)
            if recovery is None:
                await asyncio.sleep(_LOOK_S)

    def _asked_before(self, table: RecoverTable) -> RecoveryId | None:
        """Return the recovery that an earlier life asked for, if its end is waited for."""
        last = self._records.last(table.checkpoint)
        if last is None:
            return None
        if table.at is RecoverAt.START:
            return last.recovery if self._is_asked(table) else None
        return last.recovery if self._book.get(last.recovery) is not None else None

    def _is_asked(self, table: RecoverTable) -> bool:
        """Return whether it was asked for in this boot of the machine."""
        last = self._records.last(table.checkpoint)
        return last is not None and bool(self._boot) and last.boot == self._boot

    async def _ask(self, table: RecoverTable) -> RecoveryId | None:
        """Begin a recovery; return ``None`` if that was refused, and say why."""
        request = RecoverRequest(
            checkpoint=table.checkpoint,
            patience_s=table.patience_s,
            is_background=True,
            is_name_awaited=True,
            shards=table.shards,
            place="" if table.place is None else table.place.value,
            activate=table.activate,
        )
        try:
            recovery = RecoveryId((await self._recoveries.recover(request)).recovery)
            await self._records.note(AskedRow(table.checkpoint, self._boot, recovery))
        except CkptdError as error:
            self._say(table, str(error), None)
            return None
        _log.info(
            "recovery.configured",
            recovery=recovery,
            checkpoint=table.checkpoint,
            at=table.at.value,
        )
        return recovery

    async def _outcome(self, table: RecoverTable, recovery: RecoveryId) -> str:
        """Wait for the end of a recovery; return why it is none that was wanted."""
        found = self._book.get(recovery)
        if found is not None and await self._is_given_up(table, found):
            return ""
        try:
            ended = self._book.result(recovery)
        except NotFound:  # so long ago that nobody remembers
            return ""
        if not ended.result.is_success:
            return ended.message or f"recovery {recovery} ended as {ended.result.value}"
        return ended.link_problem

    async def _is_given_up(self, table: RecoverTable, found: OpenRecovery) -> bool:
        """Wait for the end of a recovery; return whether it was given up for want of a need.

        A job that is new saves what nobody had to bring.
        """
        while True:
            try:
                async with asyncio.timeout(_NEED_LOOK_S):
                    await found.ended.wait()
            except TimeoutError:
                pass
            else:
                return False
            with suppress(NotFound):  # it has ended just now
                if self._is_needless(table, found):
                    await self._recoveries.cancel(found.id)
                    _log.info("recovery.needless", recovery=found.id, checkpoint=table.checkpoint)
                    return True

    def _is_needless(self, table: RecoverTable, found: OpenRecovery) -> bool:
        return is_needless(
            table.at,
            self._recoveries.recovery(found.id).stage,
            is_background=found.record.is_background,
            is_here=self._is_here(table, but=(found.root.name, found.target)),
        )

    def _say(self, table: RecoverTable, why: str, recovery: RecoveryId | None) -> None:
        """Take note of why something did not come; what was said last is not said again."""
        said = self._unmet.pop(table.checkpoint, None)
        if not why:
            return
        self._unmet[table.checkpoint] = _Unmet(why, recovery)
        if said is None or said.why != why:
            _log.warning("recovery.unmet", checkpoint=table.checkpoint, why=why)

    def _came_since(self, checkpoint: str, unmet: _Unmet) -> bool:
        """Return whether another recovery brought it, which somebody else asked for."""
        for ended in self._book.ended():
            if ended.recovery == unmet.recovery:
                return False
            is_copy = self._roots.is_for_copies(ended.target)
            if ended.checkpoint == checkpoint and ended.result.is_success and not is_copy:
                return unmet.recovery is not None
        return False

    def _is_under_way(self, table: RecoverTable) -> bool:
        return any(
            each.record.checkpoint == table.checkpoint
            and each.root.name != self._roots.for_copies  # a copy is for others
            for each in self._book
        )

    def _is_here(self, table: RecoverTable, but: tuple[str, str] | None = None) -> bool:
        """Return whether what is to be here stands here, at a place other than one.

        Args:
            table: What is to be here.
            but: The root and the directory of that place.
        """
        wanted = named_shards(table.shards) or self._shards.mine(table.checkpoint)
        if wanted is None and table.shards:
            return False  # this node never had one: whoever asks learns that
        standing = (
            (held.holding.checkpoint, held.holding.version)
            for held in self._catalog.versions()
            if not held.is_copy
            and (but is None or any((each.root, each.directory) != but for each in held.places))
        )
        return stands_here(table.checkpoint, wanted, standing)
