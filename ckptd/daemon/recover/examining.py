"""Looks whether a peer has a version that it claims: by its manifest, and one block of it."""

from __future__ import annotations

import asyncio
from typing import Final

from ckptd.core.effects import ExamineRival
from ckptd.core.events import Refusal, RivalExamined
from ckptd.daemon.parts import Transport
from ckptd.daemon.recover.manifests import Manifests, VerifiedManifest
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.sampling import SampledRun, fetch_run
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import CkptdError, InvalidManifest, NotFound, NotSigned, VerificationFailed
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import RangeOutcome, RivalVerdict, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.lane.buffers import BufferPool
from ckptd.observe.logs import get_logger

_PATIENCE_S: Final = 10.0
"""How long manifest and block may take together. A recovery waits for it that cannot go on; a
holder so slow could hardly serve it."""

_log = get_logger()


class Examining:
    """Examines claims; each ends with one verdict, within a bounded time.

    Args:
        manifests: Gets manifests.
        policy: Which signatures count.
        peering: Knows where peers answer.
        transport: By what they are talked to.
        pool: Buffers for blocks.
    """

    def __init__(
        self,
        manifests: Manifests,
        policy: SignaturePolicy,
        peering: Peering,
        transport: Transport,
        pool: BufferPool,
    ) -> None:
        self._manifests = manifests
        self._policy = policy
        self._peering = peering
        self._transport = transport
        self._pool = pool

    async def examine(
        self, effect: ExamineRival, checkpoint: CheckpointName, urgency: Urgency
    ) -> RivalExamined:
        """Look at one claim.

        Args:
            effect: Which.
            checkpoint: What the manifest must be of.
            urgency: The class of the request for the block.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                examined = await self._examine(effect, checkpoint, urgency)
        except NotSigned as error:
            verdict = RivalVerdict.FALSE if error.is_lie else RivalVerdict.UNSIGNED
            examined = _verdict(effect, verdict, refusal=str(error))
        except InvalidManifest as error:
            refusal = Refusal.of(error)
            examined = _verdict(
                effect, RivalVerdict.UNUSABLE, refusal=refusal.message, is_junk=refusal.is_junk
            )
        except VerificationFailed:
            examined = _verdict(effect, RivalVerdict.FALSE)
        except NotFound:
            examined = _verdict(effect, RivalVerdict.NOT_HELD)
        except (CkptdError, OSError):  # TimeoutError among them
            examined = _verdict(effect, RivalVerdict.NO_ANSWER)
        _log.info(
            "rival.examined",
            recovery=effect.recovery,
            source=effect.source,
            digest=effect.digest,
            verdict=examined.verdict.value,
        )
        return examined

    async def _examine(
        self, effect: ExamineRival, checkpoint: CheckpointName, urgency: Urgency
    ) -> RivalExamined:
        found = await self._manifests.from_peer(effect.source, checkpoint, effect.digest)
        space, manifest = found.space, found.space.manifest
        has_block = (
            not space.block_count if effect.block is None else effect.block < space.block_count
        )
        if (manifest.checkpoint, manifest.version) != (checkpoint, effect.version) or not has_block:
            return _verdict(effect, RivalVerdict.FALSE)
        if effect.block is not None:
            verdict = await self._look_at_block(effect, found, effect.block, urgency)
            if verdict is not RivalVerdict.GENUINE:
                return _verdict(effect, verdict)
        return RivalExamined(
            effect.recovery,
            effect.digest,
            effect.source,
            RivalVerdict.GENUINE,
            space.size_bytes,
            tuple(signature.key for signature in found.signatures),
            self._policy.is_trusted(found.signatures, checkpoint),
        )

    async def _look_at_block(
        self, effect: ExamineRival, found: VerifiedManifest, block: int, urgency: Urgency
    ) -> RivalVerdict:
        end = self._peering.end_of(effect.source)
        if end is None:
            return RivalVerdict.NO_ANSWER
        sample = await fetch_run(
            end.address,
            SampledRun(effect.digest, found.space, BlockRun(block, block + 1), urgency),
            self._pool,
            peer=self._lane_peer(end.node),
            throttles=self._transport.throttles,
            patience_s=_PATIENCE_S,
        )
        if sample.bad_blocks:
            return RivalVerdict.BAD_BLOCK
        is_here = sample.outcome is RangeOutcome.DELIVERED
        return RivalVerdict.GENUINE if is_here else RivalVerdict.NO_ANSWER

    def _lane_peer(self, node: NodeId) -> tuple[Identity, NodeId] | None:
        identity = self._transport.identity
        return None if identity is None else (identity, node)


def _verdict(
    effect: ExamineRival, verdict: RivalVerdict, *, refusal: str = "", is_junk: bool = False
) -> RivalExamined:
    return RivalExamined(
        effect.recovery,
        effect.digest,
        effect.source,
        verdict,
        refusal=refusal,
        is_junk=is_junk,
        block=effect.block,
    )
