"""Says which version of a job is the newest that is whole, once nobody goes another way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from ckptd.control.messages.jobs import DifferingRow, NewestRequest, NewestView
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.ids import CheckpointName, NodeId, Version, parse_checkpoint_name
from ckptd.model.words import PeerState

_LOOK_S: Final = 0.25
"""As often as peers say that they have more."""


class NewestAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about the newest version of a job.

    Args:
        recovering: All recoveries.
        proven: Chooses versions.
    """

    def __init__(self, recovering: Recovering, proven: ProvenVersions) -> None:
        self._recovering = recovering
        self._proven = proven

    async def newest(self, request: NewestRequest) -> NewestView:
        """Return the newest version that is whole; wait until nobody goes another way."""
        job = parse_checkpoint_name(request.job)
        view = await self._look(job)
        try:
            async with asyncio.timeout(request.for_s):
                while not view.is_agreed:
                    await asyncio.sleep(_LOOK_S)
                    view = await self._look(job)
        except TimeoutError:
            pass
        return view

    async def _look(self, job: CheckpointName) -> NewestView:
        # Of what is looked at now: who is heard while manifests come is in the next look.
        is_settled, silent = self._recovering.scheduler.is_settled, self._silent()
        found = await self._proven.choose(job)
        differing = _rows(found.others)
        by_node = self._recovering.placed().get(job, {})
        is_apart = len(set(by_node.values())) > 1
        return NewestView(
            job=job,
            version=found.version,
            shards=len(found.contents),
            is_agreed=found.version is not None and is_settled and not differing and not is_apart,
            why=found.why,
            differing=differing,
            placed=_rows(by_node) if is_apart else (),
            silent=tuple(sorted(silent | self._silent())),
        )

    def _silent(self) -> set[str]:
        return {
            peer.name
            for peer in self._recovering.peering.peers()
            if peer.state in {PeerState.UNREACHABLE, PeerState.UNKNOWN}
        }


def _rows(by_node: Mapping[NodeId, Version]) -> tuple[DifferingRow, ...]:
    return tuple(
        DifferingRow(node=node, version=version) for node, version in sorted(by_node.items())
    )
