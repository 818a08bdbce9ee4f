"""Removes what nothing keeps, as somebody asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ckptd.control.messages.retention import (
    CollectedRow,
    CollectEvent,
    CollectRequest,
    CollectResult,
)
from ckptd.daemon.retain.outcomes import Outcome
from ckptd.daemon.retain.reasons import reason_of
from ckptd.daemon.retain.retention import Retention
from ckptd.errors import NotFound, UsageError
from ckptd.model.ids import parse_checkpoint_name
from ckptd.model.shards import job_of


class CollectAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about retention.

    Args:
        retention: By what versions go.
    """

    def __init__(self, retention: Retention) -> None:
        self._retaining = retention.retaining
        self._standings = retention.standings

    async def collect(self, request: CollectRequest) -> AsyncGenerator[CollectEvent, None]:
        """Remove what may go; yield each version with what became of it, and last the sum.

        Raises:
            UsageError: More room is asked for where nothing may go, or less than none.
            NotFound: Nothing of that name stands here.
        """
        name = None if request.name is None else job_of(parse_checkpoint_name(request.name))
        seen = self._retaining.seen
        if request.free_bytes is not None and (request.free_bytes < 0 or not seen.is_on):
            raise UsageError(
                "room",
                "is made only by the rules of [retention], and there are none",
                "Say in the configuration which versions stay.",
            )
        removed, freed_bytes, kept = 0, 0, Counter[str]()
        outcomes = self._retaining.collect(
            name, is_dry_run=request.is_dry_run, free_bytes=request.free_bytes
        )
        async with aclosing(outcomes):
            async for outcome in outcomes:
                removed += outcome.goes is not None
                freed_bytes += outcome.freed_bytes
                if outcome.kept is not None:
                    kept[outcome.kept.value] += 1
                yield self._row_of(outcome)
        if name is not None and not removed and not kept:
            raise NotFound(name, "does not stand on this node", "See 'ckptctl checkpoints'.")
        yield CollectResult(
            is_on=seen.is_on,
            removed=removed,
            freed_bytes=freed_bytes,
            kept=dict(sorted(kept.items())),
            short_bytes=dict(seen.short_bytes),
            is_dry_run=request.is_dry_run,
        )

    def _row_of(self, outcome: Outcome) -> CollectedRow:
        standing = outcome.surveyed.standing
        return CollectedRow(
            checkpoint=standing.name,
            version=standing.version,
            size_bytes=standing.size_bytes,
            is_gone=outcome.goes is not None,
            goes_because=outcome.goes,
            kept_because=outcome.kept,
            why=reason_of(outcome, self._retaining.rule_of(standing.name)),
            freed_bytes=outcome.freed_bytes,
            copies_elsewhere=standing.copies_elsewhere,
            directories=tuple(
                dict.fromkeys(self._standings.path(each.place) for each in outcome.surveyed.places)
            ),
        )
