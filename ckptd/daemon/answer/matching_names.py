"""Which checkpoints a pattern over names means, to recover them with one command."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from ckptd.core.peers.following import SETTLED_AFTER_NS
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Missing, UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, MATCHING_NAMES_MAX, SECOND
from ckptd.model.ids import CheckpointName
from ckptd.model.nearest import nearest_names
from ckptd.model.patterns import compile_pattern
from ckptd.model.shards import job_of
from ckptd.store.published.catalog import Catalog

_HEARD_S: Final = SETTLED_AFTER_NS / SECOND + 1
"""So long peers are waited for that were not asked yet, to know what names there are."""


class MatchingNames:
    """Knows the checkpoints of this node and of live peers.

    Args:
        catalog: What is here.
        recovering: Knows what peers hold.
    """

    def __init__(self, catalog: Catalog, recovering: Recovering) -> None:
        self._catalog = catalog
        self._recovering = recovering

    async def matching(self, pattern: str) -> list[CheckpointName]:
        """Return what a pattern means, as :func:`checkpoints_matching` does.

        Raises:
            UsageError: See there.
            Missing: See there.
        """
        names = await heard_names(self._recovering)
        here = {held.holding.checkpoint for held in self._catalog.versions()}
        return checkpoints_matching(pattern, names | here)


async def heard_names(
    recovering: Recovering, *, until: CheckpointName | None = None
) -> set[CheckpointName]:
    """Return the checkpoints of live peers, once every peer was asked, or a few seconds later.

    Args:
        recovering: Knows what peers hold.
        until: This name is enough; do not wait for others.
    """
    scheduler, peering = recovering.scheduler, recovering.peering
    try:
        async with asyncio.timeout(_HEARD_S):
            await recovering.runtime.wait_until(
                lambda: scheduler.is_settled or (until is not None and until in peering.names())
            )
    except TimeoutError:
        pass  # then what was heard so far counts
    return peering.names()


def checkpoints_matching(pattern: str, known: Collection[CheckpointName]) -> list[CheckpointName]:
    """Return which checkpoints a pattern means, sorted.

    Shards are not recovered one by one: a pattern that a job or a shard of it matches means more
    than can be meant.

    Args:
        pattern: With ``*``, ``?`` and ``[…]`` as of ``fnmatch``; ``*`` matches ``/`` too.
        known: Checkpoints that there are.

    Raises:
        Missing: It matches nothing.
        UsageError: It matches a job, too much, or is longer than any name.
    """
    subject = f"pattern {pattern[:80]!r}"
    if len(pattern) > CHECKPOINT_NAME_BYTES_MAX:
        raise UsageError(subject, f"is longer than {CHECKPOINT_NAME_BYTES_MAX} characters")
    matches = compile_pattern(pattern).match
    found = sorted(name for name in known if matches(name) or matches(job_of(name)))
    if not found:
        near = nearest_names(pattern, known)
        hint = f"Known, and spelled most like it: {', '.join(near)}." if near else ""
        raise Missing(subject, "matches no checkpoint here or at a peer that answers", hint)
    jobs = sorted({job for name in found if (job := job_of(name)) != name})
    if jobs:
        raise UsageError(
            subject,
            f"matches the job {jobs[0]}, which is recovered as one",
            f"Recover it by its name, ckptctl recover {jobs[0]}, and take a narrower pattern.",
        )
    if len(found) > MATCHING_NAMES_MAX:
        raise UsageError(
            subject,
            f"matches {len(found)} checkpoints, and one command begins at most "
            f"{MATCHING_NAMES_MAX} recoveries",
            "Take narrower patterns.",
        )
    return found
