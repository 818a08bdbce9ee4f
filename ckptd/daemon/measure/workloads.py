"""What jobs do to this node: measured from what is saved, published, copied and brought here.

Nobody waits for it. What takes more than a moment (when files were written last, how much of a
version is new) is found out by one task, in threads, for one version after another; where too many
come at once that is not known of some. The latest versions of each checkpoint outlive the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, NoReturn, TypeAlias

from ckptd.core.events import Event, HoldingsArrived
from ckptd.daemon.measure.workload_metrics import WorkloadSeen, seen_of
from ckptd.daemon.parts import Storage
from ckptd.errors import CkptdError
from ckptd.limits import CHECKPOINTS_WATCHED_MAX, MIB, SECOND
from ckptd.model.block_samples import BlockSample, changed_share, sample_of
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.shards import is_shard_of
from ckptd.model.words import Result
from ckptd.model.workload import (
    VERSIONS_MAX,
    SavedVersion,
    Workload,
    joint_workloads_of,
    workloads_of,
)
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.records.ended import EndedRecovery

_LOOKED_INTO_MAX: Final = 4
"""So many versions wait to be looked into; each may keep 64 MiB of its manifest in memory."""
_SAMPLES_BYTES_MAX: Final = 4 * MIB
"""Of the latest versions of some checkpoints; of the others manifests are read again."""
_AHEAD_S: Final = 60.0
"""A file that was written further ahead says nothing: its time was set, or a clock is wrong."""

_Key: TypeAlias = tuple[CheckpointName, Version]

_log = get_logger()


class _Offered(NamedTuple):
    key: _Key
    at_ns: int


class Workloads:
    """What is known of the latest versions of each checkpoint.

    Args:
        storage: What is here, and where that is kept.
        claims: Returns what live peers hold of a version.
        now: The moment in nanoseconds, on the monotonic clock.
        wall_clock: Unix time; files have their times in it.
    """

    def __init__(
        self,
        storage: Storage,
        claims: Callable[[Digest], Iterable[Holding]],
        now: Callable[[], int],
        wall_clock: Callable[[], float],
    ) -> None:
        self._records = storage.workload
        self._catalog = storage.catalog
        self._claims = claims
        self._now = now
        self._wall_clock = wall_clock
        self._known: dict[CheckpointName, dict[Version, SavedVersion]] = {}
        self._changed: set[_Key] = set()
        self._gone: set[_Key] = set()
        self._offered: dict[Digest, _Offered] = {}  # all and only what no other node has yet
        self._samples: dict[Digest, BlockSample] = {}
        self._to_look_into: asyncio.Queue[HashedDirectory | EndedRecovery] = asyncio.Queue(
            _LOOKED_INTO_MAX
        )
        self._joint: list[Workload] | None = None

    async def load(self) -> None:
        """Take over what an earlier life of the daemon measured; once, and first.

        How long copies took that were made meanwhile nobody knows.

        Raises:
            CkptdError: The database refuses.
        """
        for each in await self._records.load():
            self._put(each)
        self._changed.clear()

    async def write(self) -> None:
        """Write down what is new. If the disk refuses, that is logged: nothing depends on it."""
        if not self._changed and not self._gone:
            return
        changed, gone = self._changed, self._gone
        self._changed, self._gone = set(), set()
        known = [self._known[name][version] for name, version in sorted(changed)]
        try:
            await self._records.write(known, sorted(gone))
        except CkptdError as error:
            _log.warning("workload.not_kept", why=str(error))
            self._changed |= {key for key in changed if self._find(key) is not None}
            self._gone |= {key for key in gone if self._find(key) is None}

    async def run(self) -> NoReturn:
        """Look into versions that came, one after another, until cancelled."""
        while True:
            await self._look_into(await self._to_look_into.get())

    def versions(self) -> list[SavedVersion]:
        """Return what is known of all versions."""
        return [each for known in self._known.values() for each in known.values()]

    def joint(self) -> Sequence[Workload]:
        """Return what each checkpoint and each job does."""
        if self._joint is None:
            self._joint = joint_workloads_of(self.versions())
        return self._joint

    def of_family(self, name: CheckpointName) -> list[Workload]:
        """Return what a checkpoint does, or each shard of a job that is here."""
        return workloads_of(
            each
            for checkpoint, known in self._known.items()
            if checkpoint == name or is_shard_of(checkpoint, name)
            for each in known.values()
        )

    def note_seen(self, checkpoint: CheckpointName, version: Version, saved_at_s: float) -> None:
        """Take note of a save that is complete in a watched directory, published or not."""
        before = self._find((checkpoint, version))
        if before is None or (not before.digest and before.saved_at_s != saved_at_s):
            self._put(SavedVersion(checkpoint, version, self._wall_clock(), saved_at_s=saved_at_s))

    def note_published(
        self, hashed: HashedDirectory, size_bytes: int, *, took_s: float, paced_s: float
    ) -> None:
        """Take note of a version that is on offer now.

        Args:
            hashed: What was published.
            size_bytes: How long it is.
            took_s: How long it took to read and hash it.
            paced_s: How much of that went by to keep to a rate.
        """
        manifest = hashed.manifest
        key = CheckpointName(manifest.checkpoint), Version(manifest.version)
        before = self._find(key)
        self._put(
            SavedVersion(
                *key,
                self._wall_clock(),
                hashed.digest,
                None if before is None else before.saved_at_s,
                size_bytes,
                hashed_s=took_s,
                paced_s=paced_s,
            )
        )
        if not any(holding.is_whole for holding in self._claims(hashed.digest)):
            self._offered[hashed.digest] = _Offered(key, self._now())
        self._queue(hashed)

    def note_ended(self, ended: EndedRecovery) -> None:
        """Take note of how long it took to bring a version here, if one was brought."""
        is_brought = ended.result is Result.COMPLETE and not ended.was_here
        if not is_brought or ended.version is None or not ended.received_bytes:
            return
        before = self._find((ended.checkpoint, ended.version))
        if before is None or before.hashed_s is None:  # else it was repaired
            self._put(
                SavedVersion(
                    ended.checkpoint,
                    ended.version,
                    self._wall_clock(),
                    ended.digest or "",
                    size_bytes=ended.total_bytes,
                    brought_s=ended.duration_s,
                )
            )
            self._queue(ended)

    def note(self, events: Iterable[Event]) -> None:
        """Take note of what peers hold now."""
        if self._offered:
            for event in events:
                if isinstance(event, HoldingsArrived):
                    for holding in event.holdings:
                        self._note_holding(holding)

    def seen(self) -> WorkloadSeen:
        """Return what all jobs that still save do together."""
        return seen_of(self.joint(), now_s=self._wall_clock())

    def _find(self, key: _Key) -> SavedVersion | None:
        return self._known.get(key[0], {}).get(key[1])

    def _put(self, version: SavedVersion) -> None:
        """Know this of a version, the latest of all; forget the oldest where there are too many."""
        name, number = version.checkpoint, version.version
        versions = self._known.pop(name, {})
        versions.pop(number, None)
        versions[number] = version
        self._known[name] = versions
        self._changed.add((name, number))
        self._gone.discard((name, number))
        self._joint = None
        if len(versions) > VERSIONS_MAX:
            self._forget((name, next(iter(versions))))
        if len(self._known) > CHECKPOINTS_WATCHED_MAX:
            oldest = next(iter(self._known))
            for number in list(self._known[oldest]):
                self._forget((oldest, number))
            del self._known[oldest]

    def _forget(self, key: _Key) -> None:
        gone = self._known[key[0]].pop(key[1])
        self._offered.pop(Digest(gone.digest), None)
        self._changed.discard(key)
        self._gone.add(key)

    def _change(self, key: _Key, digest: str, **changes: float | None) -> None:
        """Know more of a version, unless it is another one by now."""
        before = self._find(key)
        if before is not None and before.digest == digest:
            self._known[key[0]][key[1]] = replace(before, **changes)  # type: ignore[arg-type]
            self._changed.add(key)
            self._joint = None

    def _note_holding(self, holding: Holding) -> None:
        offered = self._offered.get(holding.digest)
        if offered is not None and holding.is_whole:
            del self._offered[holding.digest]
            copied_s = (self._now() - offered.at_ns) / SECOND
            self._change(offered.key, holding.digest, copied_s=copied_s)

    def _queue(self, version: HashedDirectory | EndedRecovery) -> None:
        if not self._to_look_into.full():
            self._to_look_into.put_nowait(version)

    async def _look_into(self, version: HashedDirectory | EndedRecovery) -> None:
        try:
            if isinstance(version, HashedDirectory):
                manifest = version.manifest
                key = CheckpointName(manifest.checkpoint), Version(manifest.version)
                await self._note_saved(key, version, self._wall_clock() + _AHEAD_S)
                await self._note_changed(key, version)
            else:
                await self._look_into_brought(version)
        except CkptdError:
            pass  # removed or damaged meanwhile; whoever serves it says so

    async def _look_into_brought(self, ended: EndedRecovery) -> None:
        """Find out when what was brought was saved, and what of it is new."""
        assert ended.version is not None
        key = ended.checkpoint, ended.version
        place = next(
            (
                place
                for held in self._catalog.versions()
                if held.holding.version == ended.version
                and (
                    held.holding.checkpoint == ended.checkpoint
                    or is_shard_of(held.holding.checkpoint, ended.checkpoint)
                )
                for place in held.places
            ),
            None,
        )
        if place is None:
            return
        hashed = await self._catalog.hashed(place.number)
        # What is as young as the recovery has not got its times from where it was saved.
        await self._note_saved(key, hashed, ended.started_at_s)
        if hashed.digest == ended.digest:
            await self._note_changed(key, hashed)

    async def _note_saved(self, key: _Key, hashed: HashedDirectory, before_s: float) -> None:
        """Take note of when the files of a version were written last, if that can be."""
        changed_ns = await asyncio.to_thread(lambda: hashed.files.changed_at_ns)
        known = self._find(key)
        if known is not None and changed_ns is not None and 0 < changed_ns < before_s * SECOND:
            self._change(key, known.digest, saved_at_s=changed_ns / SECOND)

    async def _note_changed(self, key: _Key, hashed: HashedDirectory) -> None:
        """Take note of how much of a version is not in the one before."""
        sample = await asyncio.to_thread(sample_of, hashed.manifest.units)
        before = await self._sample_before(key)
        self._keep(hashed.digest, sample)
        if before is not None:
            share = await asyncio.to_thread(changed_share, before, sample)
            known = self._find(key)
            if share is not None and known is not None and known.size_bytes is not None:
                changed_bytes = round(share * known.size_bytes)
                self._change(key, hashed.digest, changed_bytes=changed_bytes)

    async def _sample_before(self, key: _Key) -> BlockSample | None:
        """Return the blocks of the version before one, if they are known or here."""
        older = [
            each for each in self._known.get(key[0], {}).values()
            if each.digest and each.version < key[1]
        ]  # fmt: skip
        if not older:
            return None
        digest = Digest(max(older, key=lambda each: each.version).digest)
        if digest not in self._samples and self._catalog.held(digest) is not None:
            manifest = await self._catalog.manifest(digest)
            self._keep(digest, await asyncio.to_thread(sample_of, manifest.units))
        return self._samples.get(digest)

    def _keep(self, digest: Digest, sample: BlockSample) -> None:
        self._samples.pop(digest, None)
        self._samples[digest] = sample
        left_bytes = sum(each.size_bytes for each in self._samples.values())
        for oldest in list(self._samples)[:-1]:
            if left_bytes > _SAMPLES_BYTES_MAX:
                left_bytes -= self._samples.pop(oldest).size_bytes
