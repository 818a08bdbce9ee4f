"""From which checkpoints on this node blocks may be taken for which."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence

from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.model.patterns import compile_pattern
from ckptd.model.shards import job_of
from ckptd.store.files.roots import Root


class Reuse:
    """Says whether blocks may go from one checkpoint to another.

    Of the same checkpoint always, and of the shards of one job. Of another one only where the
    configuration names both, and between roots of one owner, group and mode: else who knows a
    digest could read with it what belongs to somebody else, or learn that it is here.

    Args:
        across: Groups of patterns for names of checkpoints.
    """

    def __init__(self, across: Sequence[Sequence[str]]) -> None:
        self._groups = [[compile_pattern(pattern) for pattern in group] for group in across]

    async def permits(
        self, wanted: CheckpointName, target: Root, other: CheckpointName, source: Root
    ) -> bool:
        """Return whether blocks of a checkpoint may be taken for another one.

        Args:
            wanted: What is recovered …
            target: … and below which root.
            other: What has equal blocks …
            source: … and below which root.
        """
        if job_of(wanted) == job_of(other):
            return True
        is_named = any(
            any(pattern.match(wanted) for pattern in group)
            and any(pattern.match(other) for pattern in group)
            for group in self._groups
        )
        # In a thread: a disk may not answer.
        return is_named and await asyncio.to_thread(_is_alike, target, source)


def _is_alike(target: Root, source: Root) -> bool:
    return _access_of(target) == _access_of(source) is not None


def _access_of(root: Root) -> tuple[int, int, int] | None:
    try:
        facts = root.stat("")
    except CkptdError:
        return None
    return facts and (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
