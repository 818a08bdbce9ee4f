"""The service that audits what peers claim: one block at a time, at most one a second.

Of a claim one block is drawn among those that the peer says it has, asked for as a recovery in the
background asks for it, verified against the manifest, and thrown away. Nothing says beforehand
which block it will be, and nothing in the question that it is an audit. What a peer claims of names
in ``[copies]`` is audited, and of versions that retention would let go here; nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from random import Random, SystemRandom
from typing import Final, NamedTuple

from ckptd.core.events import ClaimAudited
from ckptd.core.peers.audits import AuditableClaim
from ckptd.daemon.audit.audits_seen import AuditsSeen
from ckptd.daemon.audit.proofs import Proofs
from ckptd.daemon.audit.timetable import Audited, Timetable
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.recover.sampling import SampledRun, fetch_run
from ckptd.errors import (
    CkptdError,
    InvalidManifest,
    NotFound,
    NotSigned,
    Shortage,
    VerificationFailed,
)
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, PathId
from ckptd.model.space import AddressSpace
from ckptd.model.words import AuditResult, RangeOutcome, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.small_answers import TurnedAway
from ckptd.observe.logs import get_logger

_PACE_S: Final = 1.0
"""At most one audit in this time, however many are due."""
_LOOK_S: Final = 2.0
"""How often it is looked whether peers claim something else."""
_WRITE_S: Final = 10.0
"""How often results are written: those of the last seconds are had again in as long."""
_PATIENCE_S: Final = 10.0
"""Who does not deliver manifest and block in this time does not answer. A block has 16 MiB at most:
whoever is slower could hardly serve a recovery."""
_PROVING_MAX: Final = 4
"""So many claims are audited side by side for whoever waits for it."""

_OUTCOMES: Final = {
    RangeOutcome.DELIVERED: AuditResult.RIGHT,
    RangeOutcome.NOT_HELD: AuditResult.NOT_HELD,
    RangeOutcome.BUSY: AuditResult.BUSY,
    RangeOutcome.TURNED_AWAY: AuditResult.BUSY,
    RangeOutcome.STORE_FAILED: AuditResult.BUSY,  # this node has no memory for it
}

_log = get_logger()


class _Drawn(NamedTuple):
    """A block, what came of asking for it, and where it stands; ``None``: none was drawn."""

    result: AuditResult
    block: int | None = None
    space: AddressSpace | None = None


class _Opened(NamedTuple):
    digest: Digest
    space: AddressSpace


class Auditing:
    """Audits. Belongs to the event loop.

    Args:
        parts: What the daemon is made of.
        recovering: Knows who claims what, and where peers answer.
        rng: Draws blocks; nobody else may know what it will draw: not the generator of the
            scheduler, whose seed is announced.

    Attributes:
        is_on: Somebody asked for copies or for retention; else nothing is audited by itself.
        goes: Returns what retention would let go here.
        proofs: What is proven.
        counts: Audits since the start, by result.
    """

    def __init__(self, parts: Parts, recovering: Recovering, rng: Random | None = None) -> None:
        config = parts.config
        self._catalog = parts.storage.catalog
        self._transport = parts.transport
        self._scheduler = recovering.scheduler
        self._manifests = recovering.manifests
        self._peering = recovering.peering
        self._pool = recovering.pool
        self._report = recovering.runtime.report
        self._now = recovering.runtime.now
        self._rng = rng = rng or SystemRandom()
        self.is_on = config.copies.is_on or config.retention.is_on
        self._is_listed = config.copies.lists
        self.goes: Callable[[], Collection[Digest]] = frozenset
        self.proofs = Proofs(
            parts.storage.audits,
            self._scheduler.claims_of_node,
            now=self._now,
            boot=parts.boot,
            wall_clock=parts.wall_clock,
        )
        self.counts: Counter[AuditResult] = Counter()
        self._timetable = Timetable(rng)
        self._looked: dict[PathId, tuple[Epoch, int]] = {}
        self._going: frozenset[Digest] = frozenset()
        self._opened: _Opened | None = None
        self._proving = asyncio.Semaphore(_PROVING_MAX)

    async def run(self) -> None:
        """Audit what is due, until cancelled; nothing if nobody asked for what needs it."""
        if not self.is_on:
            return
        loop = asyncio.get_running_loop()
        write_s = loop.time() + _WRITE_S
        while True:
            was_due = await self.audit_next()
            if loop.time() >= write_s:
                await self.proofs.write()
                write_s = loop.time() + _WRITE_S
            await asyncio.sleep(_PACE_S if was_due else _LOOK_S)

    def prefer(self, is_near: Callable[[CheckpointName], bool]) -> None:
        """Audit first what peers claim of names whose copies may fall to this node."""
        self._timetable.is_near = is_near

    async def audit_next(self) -> bool:
        """Audit the claim that is due first; tell whether one was."""
        self._look()
        opened = None if self._opened is None else self._opened.digest
        claim = self._timetable.take_next(now=self._now(), opened=opened)
        if claim is None:
            self._opened = None  # it may be large, and nobody needs it for a while
            return False
        await self._audit(claim)
        return True

    def seen(self) -> AuditsSeen:
        """Return what audits came to. Cost: O(claims)."""
        now = self._now()
        states: Counter[str] = Counter()
        oldest_ns = now
        for claim in self._timetable.claims:
            last = self.proofs.last((claim.origin, claim.holding.digest))
            if last is not None and last.proves(len(claim.holding.blocks), now=now):
                states["proven"] += 1
                oldest_ns = min(oldest_ns, last.at_ns)
            else:
                states["unproven" if last is None or last.is_right else "false"] += 1
        oldest_s = (now - oldest_ns) / SECOND if states["proven"] else None
        return AuditsSeen(self.counts, states, oldest_s, self.proofs.false_claims())

    async def is_proven(self, path: PathId, holding: Holding) -> bool:
        """Tell whether a peer has what it claims; audit it now unless it was within the day.

        Args:
            path: On which path it answers.
            holding: What it claims.
        """
        claims = self._scheduler.claims_of(path)
        claim = next((each for each in claims if each.holding.digest == holding.digest), None)
        if claim is None:
            return False
        claim = claim._replace(holding=holding)
        async with self._proving:
            last = self.proofs.last((claim.origin, holding.digest))
            if last is not None and last.proves(len(holding.blocks), now=self._now()):
                return True
            return await self._audit(claim) is AuditResult.RIGHT

    async def space_of(self, checkpoint: CheckpointName, digest: Digest) -> AddressSpace | None:
        """Return what a version consists of, from here or from a peer; ``None``: nobody says so."""
        own = await self._own_space(digest)
        if own is not None:
            return own
        for path, holding in self._scheduler.claims(digest)[:_PROVING_MAX]:
            if holding.checkpoint != checkpoint:
                continue
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return (await self._manifests.from_peer(path, checkpoint, digest)).space
            except (CkptdError, OSError):
                continue
        return None

    def _look(self) -> None:
        """Take in what peers claim by now, of those who claim something else than before."""
        now, going = self._now(), frozenset(self.goes())
        moments = self._scheduler.claim_moments(now=now)
        changed = [path for path, moment in moments.items() if self._looked.get(path) != moment]
        if going != self._going:
            self._going, changed = going, list(moments)
        for path in changed:
            claims = [each for each in self._scheduler.claims_of(path) if self._is_wanted(each)]
            known = [
                (each, self.proofs.last((each.origin, each.holding.digest))) for each in claims
            ]
            self._timetable.take_in(path, known, now=now)
        for path in self._timetable.paths.difference(moments):
            self._timetable.take_in(path, (), now=now)
        self._looked = moments

    def _is_wanted(self, claim: AuditableClaim) -> bool:
        holding = claim.holding
        is_asked_for = holding.digest in self._going or self._is_listed(holding.checkpoint)
        return is_asked_for and not (holding.block_count and not holding.blocks)

    async def _audit(self, claim: AuditableClaim) -> AuditResult:
        """Audit a claim, and let everybody know what came of it."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                drawn = await self._draw(claim)
        except (TurnedAway, Shortage):
            drawn = _Drawn(AuditResult.BUSY)
        except (CkptdError, OSError):  # TimeoutError among them
            drawn = _Drawn(AuditResult.NO_ANSWER)
        self._note(claim, drawn)
        return drawn.result

    async def _draw(self, claim: AuditableClaim) -> _Drawn:
        """Draw a block of a claim and ask for it.

        Raises:
            CkptdError: There was no answer.
            OSError: Likewise.
        """
        holding = claim.holding
        try:
            space = await self._space(claim)
        except NotFound:
            return _Drawn(AuditResult.NOT_HELD)
        except (InvalidManifest, NotSigned) as error:
            is_lie = isinstance(error, NotSigned) and error.is_lie
            return _Drawn(AuditResult.WRONG if is_lie else AuditResult.UNUSABLE)
        except VerificationFailed:
            return _Drawn(AuditResult.WRONG)
        manifest = space.manifest
        is_of = (manifest.checkpoint, manifest.version) == (holding.checkpoint, holding.version)
        if not is_of or space.block_count != holding.block_count:
            return _Drawn(AuditResult.WRONG)
        if not holding.blocks:  # it has none, and its names came with the manifest
            return _Drawn(AuditResult.RIGHT)
        doubted = self._scheduler.doubted_blocks(claim.path, holding.digest) & holding.blocks
        blocks = doubted or holding.blocks
        block = blocks.nth(self._rng.randrange(len(blocks)))
        return _Drawn(await self._ask_for(claim, space, block), block, space)

    async def _ask_for(self, claim: AuditableClaim, space: AddressSpace, block: int) -> AuditResult:
        end = self._peering.end_of(claim.path)
        if end is None or end.node != claim.node:
            return AuditResult.NO_ANSWER
        sample = await fetch_run(
            end.address,
            SampledRun(claim.holding.digest, space, BlockRun(block, block + 1), Urgency.BACKGROUND),
            self._pool,
            peer=self._lane_peer(end.node),
            throttles=self._transport.throttles,
            patience_s=_PATIENCE_S,
        )
        if sample.bad_blocks:
            return AuditResult.WRONG
        return _OUTCOMES.get(sample.outcome, AuditResult.NO_ANSWER)

    def _lane_peer(self, node: NodeId) -> tuple[Identity, NodeId] | None:
        identity = self._transport.identity
        return None if identity is None else (identity, node)

    async def _space(self, claim: AuditableClaim) -> AddressSpace:
        """Open the manifest of a claim, if it is not open.

        Raises:
            CkptdError: It did not come, or is not what it should be.
            OSError: There was no answer.
        """
        digest = claim.holding.digest
        if self._opened is not None and self._opened.digest == digest and claim.holding.blocks:
            return self._opened.space
        space = await self._own_space(digest) if claim.holding.blocks else None
        if space is None:
            found = await self._manifests.from_peer(claim.path, claim.holding.checkpoint, digest)
            space = found.space
        self._opened = _Opened(digest, space)
        return space

    async def _own_space(self, digest: Digest) -> AddressSpace | None:
        """Open the manifest of a version that is here; ``None`` if it is not, or not any more."""
        if self._catalog.held(digest) is None:
            return None
        try:
            manifest = await self._catalog.manifest(digest)
        except CkptdError:
            return None
        return await asyncio.to_thread(AddressSpace, manifest)

    def _note(self, claim: AuditableClaim, drawn: _Drawn) -> None:
        holding, result, now = claim.holding, drawn.result, self._now()
        key = (claim.origin, holding.digest)
        self.counts[result] += 1
        if result is not AuditResult.RIGHT and not result.is_failed:
            self._timetable.note_unanswered(key, now=now)
            return
        audited = Audited(now, result is AuditResult.RIGHT, len(holding.blocks))
        before = self.proofs.last(key)
        self.proofs.note(key, audited)
        self._timetable.note_audited(key, audited)
        if result.is_failed and (before is None or before.is_right):
            _log.warning(
                "audit.failed",
                node=claim.node,
                checkpoint=holding.checkpoint,
                version=holding.version,
                why=result.value,
            )
        elif before is not None and not before.is_right and audited.is_right:
            _log.info(
                "audit.passed",
                node=claim.node,
                checkpoint=holding.checkpoint,
                version=holding.version,
            )
        if result in {AuditResult.RIGHT, AuditResult.WRONG}:
            unit, unit_block = _place_of(drawn)
            self._report(
                ClaimAudited(
                    claim.path,
                    claim.origin,
                    claim.epoch,
                    holding,
                    drawn.block,
                    unit,
                    unit_block,
                    is_right=result is AuditResult.RIGHT,
                )
            )


def _place_of(drawn: _Drawn) -> tuple[str, int]:
    """Return the path of the unit of a block that was drawn, and which of its blocks it is."""
    if drawn.block is None or drawn.space is None:
        return "", 0
    unit = drawn.space.unit_of(drawn.block)
    return drawn.space.manifest.units[unit].path, drawn.block - drawn.space.unit_run(unit)[0]
