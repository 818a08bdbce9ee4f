"""Nodes that recover one job at once end with one version, and it is whole and new enough.

All is judged by what was said to a node, and by what there really is: the scheduler is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

from ckptd.core.effects import ChooseVersion, Effect, EndRecovery, FetchManifest, PlaceVersion
from ckptd.core.events import Event, HoldingsArrived, ManifestArrived, PeerLost
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.shards import split_shard
from ckptd.model.words import Result
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion

HEARING_NS: Final = 30 * SECOND
"""So long after a disturbance nodes may not have heard of each other: whom one has lost is asked
again after pauses, and manifests are waited for."""

WAITING_NS: Final = 60 * SECOND
"""What has been whole for so long is complete on a node that wants it: the nodes are quick."""


class _Layout(NamedTuple):
    version: Version
    shard_count: int


@dataclass(slots=True)
class _Stay:
    """That a recovery was for one version, from its choice to its end.

    Attributes:
        node: On which node.
        job: Of which job.
        layout: Which version.
        begun_ns: When it was chosen.
        over_ns: When the recovery ended; ``None``: not yet, or another one was chosen.
        is_named: Somebody named it.
    """

    node: NodeId
    job: CheckpointName
    layout: _Layout
    begun_ns: int
    over_ns: int | None = None
    is_named: bool = False


class Agreement(Check):
    """Recoveries of jobs.

    Args:
        real: All that nodes hold, by digest; whatever else they claim is invented.
        joints: What nodes joined, by its identity.
        disturbed: From when to when anything went wrong; then nodes may end with different ones.
    """

    def __init__(
        self,
        real: Mapping[Digest, SavedVersion],
        joints: Mapping[Digest, JoinedVersion],
        disturbed: Sequence[tuple[int, int]],
    ) -> None:
        self._joints = joints
        self._shards: dict[CheckpointName, dict[_Layout, dict[int, list[SavedVersion]]]] = {}
        for version in real.values():
            split = split_shard(version.checkpoint)
            if split is not None:
                layouts = self._shards.setdefault(split[0], {})
                layout = _Layout(version.version, split[1].count)
                layouts.setdefault(layout, {}).setdefault(split[1].index, []).append(version)
        self._disturbed = disturbed
        self._whole_since: dict[NodeId, dict[tuple[CheckpointName, _Layout], int]] = {}
        self._stays: list[_Stay] = []
        self._asked: dict[RecoveryId, dict[Digest, int]] = {}
        self._missing: dict[RecoveryId, set[Digest]] = {}
        self._marks: dict[tuple[NodeId, CheckpointName], Version] = {}

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Note which versions became whole for a node, or are not any more."""
        if not self._shards:
            return
        if isinstance(event, HoldingsArrived | PeerLost):
            self._note_whole(book)
        elif isinstance(event, ManifestArrived):
            digest = book.describing.get((event.recovery, event.source))
            if digest is not None:
                self._missing.setdefault(event.recovery, set()).discard(digest)

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is chosen and placed of jobs."""
        if not self._shards:
            return
        match effect:
            case FetchManifest(source=str(source)):
                job = book.recoveries[effect.recovery].request.job
                if job is not None and effect.digest not in book.said.get(source, {}):
                    raise CheckFailed(book, f"{source} does not have what {effect} asks for")
                asked = self._asked.setdefault(effect.recovery, {})
                asked.setdefault(effect.digest, book.node.now)
                self._missing.setdefault(effect.recovery, set()).add(effect.digest)
            case ChooseVersion() if book.recoveries[effect.recovery].request.job is not None:
                self._check_choice(book, effect)
            case PlaceVersion():
                self._check_place(book, effect)
            case EndRecovery():
                self._note_end(book, effect)
            case _:
                pass

    def at_end(self, books: dict[NodeId, NodeBook]) -> None:
        """Compare what nodes ended with that recovered the same job at the same time."""
        over = [stay for stay in self._stays if stay.over_ns is not None and not stay.is_named]
        for one, other in combinations(over, 2):
            if one.job != other.job or one.node == other.node or one.layout == other.layout:
                continue
            if _met(one, other) and self._heard(one, other):
                problem = f"ended with {one.layout}, {other.node} with {other.layout}"
                raise CheckFailed(books[one.node], problem)
        for book in books.values():
            for recovery in book.recoveries.values():
                self._check_waiting(book, recovery)

    def _check_choice(self, book: NodeBook, choice: ChooseVersion) -> None:
        joined, now = self._joints[choice.digest], book.node.now
        recovery = book.recoveries[choice.recovery]
        job, request = choice.checkpoint, recovery.request
        layout = _layout_of(joined)
        if choice.version != layout.version or joined.checkpoint != job:
            raise CheckFailed(book, f"{choice} is not what was joined")
        if not self._is_whole(book, job, layout, recovery):
            raise CheckFailed(book, f"{choice} is not whole")
        for stay in self._stays:
            if stay.node == book.name and stay.over_ns is None:
                stay.over_ns = -1
        is_named = request.version is not None
        self._stays.append(_Stay(book.name, job, layout, now, is_named=is_named))
        others = {
            version
            for source, said in book.recovering.items()
            if source not in book.lost
            for name, version in said
            if name == job
        }
        if is_named or layout.version in others:
            return
        asked = self._asked.pop(choice.recovery, {})
        missing = self._missing.pop(choice.recovery, set())
        begun_ns = min(asked.values(), default=now)
        since = self._whole_since.get(book.name, {})
        for (name, other), since_ns in since.items():
            is_newer = name == job and other.version > layout.version
            if is_newer and since_ns < begun_ns and _may_be(recovery, other, None):
                shards = self._shards[job][other].values()
                if not any(each.digest in missing for contents in shards for each in contents):
                    raise CheckFailed(book, f"{choice}: {other.version} has been whole before")

    def _check_place(self, book: NodeBook, order: PlaceVersion) -> None:
        recovery = book.recoveries[order.recovery]
        version = recovery.version
        if recovery.request.job is None:
            return
        if not isinstance(version, JoinedVersion):
            raise CheckFailed(book, f"{order} is not of shards")
        real = {
            each.digest
            for shards in self._shards[version.checkpoint].values()
            for contents in shards.values()
            for each in contents
        }
        if not version.members.keys() <= real:
            raise CheckFailed(book, f"{order.recovery} places what nobody has")
        if order.missing - version.optional:
            raise CheckFailed(book, f"{order.recovery} places what is not whole")
        key = (book.name, version.checkpoint)
        self._marks[key] = max(version.version, self._marks.get(key, version.version))

    def _note_end(self, book: NodeBook, end: EndRecovery) -> None:
        for stay in self._stays:
            if stay.node == book.name and stay.over_ns is None:
                stay.over_ns = book.node.now if end.result is Result.COMPLETE else -1

    def _note_whole(self, book: NodeBook) -> None:
        since = self._whole_since.setdefault(book.name, {})
        for job, layouts in self._shards.items():
            for layout in layouts:
                if self._is_whole(book, job, layout, None):
                    since.setdefault((job, layout), book.node.now)
                else:
                    since.pop((job, layout), None)

    def _is_whole(
        self, book: NodeBook, job: CheckpointName, layout: _Layout, recovery: RecoveryAccount | None
    ) -> bool:
        """Tell whether peers that answer and are trusted said they have all of each shard."""
        shards = self._shards.get(job, {}).get(layout, {})
        own = {} if recovery is None else {each.digest: each for each in recovery.request.own}
        return len(shards) == layout.shard_count and all(
            any(
                not (
                    version.blocks
                    - version.optional
                    - union(_had(book, version.digest))
                    - (own[version.digest].blocks if version.digest in own else BlockSet())
                )
                for version in contents
            )
            for contents in shards.values()
        )

    def _heard(self, one: _Stay, other: _Stay) -> bool:
        """Tell whether two nodes heard of each other, and saw the same holders, for long enough.

        That is so if nothing went wrong shortly before the first of them had ended.
        """
        assert one.over_ns is not None
        assert other.over_ns is not None
        over_ns = min(one.over_ns, other.over_ns)
        return not any(
            from_ns <= over_ns and to_ns + HEARING_NS >= over_ns
            for from_ns, to_ns in self._disturbed
        )

    def _check_waiting(self, book: NodeBook, recovery: RecoveryAccount) -> None:
        """Check that a recovery which did not end has nothing whole to choose."""
        name = recovery.request.recovery
        job = recovery.request.job
        if job is None or name in book.node.ends or not book.node.is_up:
            return
        now = book.node.now
        for (known, layout), since_ns in self._whole_since.get(book.name, {}).items():
            mark = self._marks.get((book.name, known))
            is_for = known == recovery.request.checkpoint and _may_be(recovery, layout, mark)
            if is_for and now - since_ns > WAITING_NS:
                view = book.node.scheduler.recovery(name, now=now)
                why = view and f"{view.stage}: {view.waiting_for}"
                raise CheckFailed(book, f"{name} has not ended, and {layout} is whole; {why}")


def _had(book: NodeBook, digest: Digest) -> Iterator[BlockSet]:
    """Yield what each peer that answers and is trusted said it has of a shard."""
    peers = book.node.scheduler.inspect().peers
    for source, said in book.said.items():
        if source in book.lost or digest not in said or source not in peers:
            continue
        if peers[source].standing.quarantined_until_ns <= book.node.now:
            yield said[digest].blocks


def _layout_of(joined: JoinedVersion) -> _Layout:
    counts = {shard.count for shard in joined.joint.shards.values()}
    return _Layout(joined.version, counts.pop())


def _may_be(recovery: RecoveryAccount, layout: _Layout, mark: Version | None) -> bool:
    """Tell whether a recovery may be for a version; the mark is what was placed there as a whole.

    Args:
        recovery: Which recovery.
        layout: Which version.
        mark: Below it nothing is taken; ``None``: nothing was placed there.
    """
    request = recovery.request
    if request.job is None or request.version not in {None, layout.version}:
        return False
    if mark is not None and layout.version < mark:
        return False
    shards = request.job.shards
    return not shards or max(shards) < layout.shard_count


def _met(one: _Stay, other: _Stay) -> bool:
    """Tell whether two recoveries were under way at the same time, for long enough to hear it."""
    if one.over_ns is None or other.over_ns is None or min(one.over_ns, other.over_ns) < 0:
        return False
    first, second = sorted((one, other), key=lambda stay: stay.begun_ns)
    assert first.over_ns is not None
    return second.begun_ns < first.over_ns
