"""Which of several contents a recovery would be for, as far as their manifests tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ckptd.control.messages.rivals import RivalRow
from ckptd.core.report.rivals import Rival
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName, Digest, Version

_PATIENCE_S: Final = 5.0
"""How long a person waits for manifests."""
_EXAMINED_MAX: Final = 4
"""Contents whose manifests are asked for; a recovery examines all."""
_HOLDERS_ASKED_MAX: Final = 2


class PlannedContents(NamedTuple):
    """What goes by the version that a recovery would be for.

    Attributes:
        digest: The content it would take.
        why: Why this one; empty if there is no other.
        rivals: What a person would have to choose from; empty if nothing.
    """

    digest: Digest
    why: str = ""
    rivals: tuple[RivalRow, ...] = ()


async def plan_contents(
    manifests: Manifests,
    policy: SignaturePolicy,
    named: tuple[CheckpointName, Version],
    contents: Sequence[Rival],
) -> PlannedContents:
    """Look at the manifests of several contents, and choose as a recovery would.

    No block is asked for, so a content may count here that a recovery would not take.

    Args:
        manifests: Gets them.
        policy: Which signatures count.
        named: Checkpoint and version.
        contents: What goes by that; not empty.
    """
    async with asyncio.TaskGroup() as tasks:
        looks = [
            tasks.create_task(_look_at(manifests, policy, named, content))
            for content in contents[:_EXAMINED_MAX]
        ]
    seen = [rival for look in looks if (rival := look.result()) is not None]
    seen += contents[_EXAMINED_MAX:]
    if not seen:
        return PlannedContents(contents[0].digest, "nobody delivers its manifest now")
    count = len(seen)
    for chosen, why in (
        (seen, "the only content that could be seen"),
        ([rival for rival in seen if rival.is_trusted], "the one that a trusted key signed"),
        ([rival for rival in seen if rival.is_own], "the one this node has or had"),
    ):
        if len(chosen) == 1:
            return PlannedContents(chosen[0].digest, f"of {len(contents)} contents {why}")
    why = f"{count} contents go by it: a recovery asks which one"
    return PlannedContents(seen[0].digest, why, tuple(map(rival_row, seen)))


async def _look_at(
    manifests: Manifests,
    policy: SignaturePolicy,
    named: tuple[CheckpointName, Version],
    content: Rival,
) -> Rival | None:
    """Return a content with who signed it; ``None`` if nobody has a manifest that is right."""
    checkpoint, version = named
    asked = [manifests.from_peer(node, checkpoint, content.digest) for node in content.nodes]
    if content.is_own and not content.nodes:
        asked = [manifests.from_catalog(checkpoint, content.digest)]
    found: Rival | None = None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            for coming in asked[:_HOLDERS_ASKED_MAX]:
                try:
                    manifest = await coming
                except (CkptdError, OSError):
                    continue
                described = manifest.space.manifest
                if (described.checkpoint, described.version) == (checkpoint, version):
                    found = replace(
                        content,
                        size_bytes=manifest.space.size_bytes,
                        signers=tuple(signature.key for signature in manifest.signatures),
                        is_trusted=policy.is_trusted(manifest.signatures, checkpoint),
                    )
                    break
    except TimeoutError:
        pass
    finally:
        for coming in asked:
            coming.close()
    return found


def rival_row(rival: Rival) -> RivalRow:
    """Return a content as a row of a plan."""
    return RivalRow(
        digest=rival.digest,
        size_bytes=rival.size_bytes,
        nodes=rival.nodes,
        signers=rival.signers,
        is_trusted=rival.is_trusted,
        is_own=rival.is_own,
    )
