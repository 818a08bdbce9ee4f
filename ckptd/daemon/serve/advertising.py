"""What this node says it holds, and what of it changed when.

That is the catalog, and of each recovery that transfers the blocks that the journal has: nodes that
recover together serve each other. One that has none yet is advertised too: it has the manifest, and
others learn that they are not alone. Of a job they learn the version, and take it as well. All
methods belong to the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Final, NamedTuple

from ckptd.limits import HOLDING_RUNS_MAX, HOLDINGS_MAX, KEEPS_MAX, PLACED_JOBS_MAX, RECOVERING_MAX
from ckptd.model.holdings import Holding, Holdings, JobVersion, delta_between, run_count
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, RecoveryId, Version
from ckptd.store.published.catalog import Catalog
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.wire.holdings_document import encode_delta, encode_holdings

_INTERVAL_S: Final = 0.25
"""Growth is announced at most this often. A range is about as much as a source delivers in that
time, so more often would cost every follower a question and not bring it a range more."""

_LONG_S: Final = 0.001
_REST: Final = 9
"""A revision that took longer than a millisecond, of thousands of versions, is followed by a rest
of nine times as long: when all of a volume is suspect, a tenth of the event loop goes into it."""

_REVISIONS_MAX: Final = 16
"""Revisions that are remembered: four seconds of growth. Slower followers get the whole."""


class Incoming(NamedTuple):
    """A recovery that serves what it has."""

    recovery: RecoveryId
    digest: Digest
    staged: StagedVersion


class Advertising:
    """Keeps the holdings, their revisions and their documents."""

    def __init__(self, node: NodeId, epoch: Epoch, catalog: Catalog) -> None:
        self._catalog = catalog
        self._cataloged = {each.digest: each for each in catalog.holdings()}
        self._incoming: dict[RecoveryId, tuple[Incoming, ...]] = {}
        self._recovering: tuple[JobVersion, ...] = ()
        self._keeps: tuple[str, ...] = ()
        self._is_full = False
        self._holdings = Holdings(node, epoch, 1, tuple(self._cataloged.values()))
        self._past: OrderedDict[int, Holdings] = OrderedDict()
        self._document: bytes | None = None
        self._deltas: dict[int, bytes] = {}  # by the revision that they change
        self._changed = asyncio.Event()
        self._announced_at_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._is_catalog_read = True
        self._rests_until_s = float("-inf")
        catalog.on_change = self._read_catalog

    @property
    def holdings(self) -> Holdings:
        """What is advertised at this moment."""
        return self._holdings

    def document(self) -> bytes:
        """Return the holdings, encoded."""
        if self._document is None:
            self._document = encode_holdings(self._holdings)
        return self._document

    def delta(self, since: int) -> bytes | None:
        """Return what changed since a revision, encoded; ``None`` if it is not remembered."""
        past = self._past.get(since)
        if past is None or _is_cut(self._holdings):
            return None
        if since not in self._deltas:
            self._deltas[since] = encode_delta(delta_between(past, self._holdings))
        return self._deltas[since]

    async def wait_change(self, revision: int) -> None:
        """Return when the revision is another one. May be cancelled at any time."""
        while self._holdings.revision == revision:
            await self._changed.wait()

    async def changed(self) -> None:
        """Return when something else is advertised than at this moment."""
        await self.wait_change(self._holdings.revision)

    def find(self, digest: Digest) -> Incoming | None:
        """Return the recovery that has most of a version, unless the catalog has as much."""
        known = self._cataloged.get(digest)
        has_most, count = None, len(known.blocks) if known else -1
        for incoming in self._all_incoming():
            if incoming.digest == digest and len(incoming.staged.blocks) > count:
                has_most, count = incoming, len(incoming.staged.blocks)
        return has_most

    def _all_incoming(self) -> Iterator[Incoming]:
        return chain.from_iterable(self._incoming.values())

    def begin(self, *incoming: Incoming) -> None:
        """Advertise what a recovery has of one version, or of several shards, from now on."""
        self._incoming[incoming[0].recovery] = incoming
        self._revise()

    def note_growth(self) -> None:
        """Tell that recoveries have more: at once, or with what else comes in the meantime."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait_s = self._announced_at_s + _INTERVAL_S - loop.time()
            if wait_s > 0:
                self._timer = loop.call_later(wait_s, self._revise)
            else:
                self._revise()

    def end(self, recovery: RecoveryId) -> None:
        """Advertise a recovery no more, if it ever was."""
        self._incoming.pop(recovery, None)
        self._revise()

    def note_jobs(self, recovering: Iterable[JobVersion]) -> None:
        """Say which versions of jobs this node recovers now, so that others take the same."""
        found = tuple(sorted(set(recovering)))[:RECOVERING_MAX]
        if found != self._recovering:
            self._recovering = found
            self._revise()

    def note_keeping(self, keeps: Iterable[str], *, is_full: bool) -> None:
        """Say of which names this node keeps copies.

        Args:
            keeps: Patterns of them.
            is_full: It takes no more copies than it has.
        """
        said = (tuple(keeps)[:KEEPS_MAX], is_full)
        if said != (self._keeps, self._is_full):
            self._keeps, self._is_full = said
            self._revise()

    def _read_catalog(self) -> None:
        """Announce what changed in the catalog: at once, or with what else changes meanwhile."""
        self._is_catalog_read = False
        loop = asyncio.get_running_loop()
        wait_s = self._rests_until_s - loop.time()
        if wait_s <= 0:
            self._revise()
        elif self._timer is None or self._timer.when() > loop.time() + wait_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(wait_s, self._revise)

    def _revise(self) -> None:
        """Make a new revision, unless nothing changed."""
        loop = asyncio.get_running_loop()
        begun_at_s = loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_catalog_read:
            self._is_catalog_read = True
            self._cataloged = {each.digest: each for each in self._catalog.holdings()}
        current = dict(self._cataloged)
        for digest in {incoming.digest: None for incoming in self._all_incoming()}:
            incoming = self.find(digest)
            if incoming is not None:
                current[digest] = _holding_of(incoming)
        listed = tuple(current.values())[:HOLDINGS_MAX]
        before = self._holdings
        changed = replace(
            before,
            holdings=listed,
            recovering=self._recovering,
            placed=self._placed(),
            keeps=self._keeps,
            is_full=self._is_full,
        )
        if changed != before:
            self._announce(before, changed)
        ended_at_s = loop.time()
        if ended_at_s - begun_at_s > _LONG_S:
            self._rests_until_s = ended_at_s + _REST * (ended_at_s - begun_at_s)

    def _placed(self) -> tuple[JobVersion, ...]:
        """Return the versions of jobs that were placed here last; look again when one expires."""
        placed = self._catalog.placed_jobs
        left_s = placed.expires_in_s()
        if left_s is not None and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(left_s + 1, self._expire)
        counting = placed.counting()[:PLACED_JOBS_MAX]
        return tuple(sorted((each.job, each.version) for each in counting))

    def _expire(self) -> None:
        self._expiry = None
        self._revise()

    def _announce(self, before: Holdings, current: Holdings) -> None:
        if not _is_cut(before):
            self._past[before.revision] = before
            if len(self._past) > _REVISIONS_MAX:
                self._past.popitem(last=False)
        self._holdings = replace(current, revision=before.revision + 1)
        self._announced_at_s = asyncio.get_running_loop().time()
        self._document = None
        self._deltas.clear()
        self._changed.set()
        self._changed = asyncio.Event()


def _holding_of(incoming: Incoming) -> Holding:
    space = incoming.staged.space
    return Holding(
        checkpoint=CheckpointName(space.manifest.checkpoint),
        version=Version(space.manifest.version),
        digest=incoming.digest,
        size_bytes=space.size_bytes,
        block_count=space.block_count,
        blocks=incoming.staged.blocks,
        optional=incoming.staged.optional,
    )


def _is_cut(holdings: Holdings) -> bool:
    """Tell whether a document cannot say all of it: a follower does not know what it misses."""
    return run_count(holdings.holdings) > HOLDING_RUNS_MAX
