"""Which shards of a job a recovery is for, by what was asked and what this node had."""

from __future__ import annotations

from typing import Final

from ckptd.daemon.answer.matching_names import heard_names
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName
from ckptd.model.shards import WantedShards, is_shard_of, parse_shards, split_shard
from ckptd.store.published.catalog import Catalog

_MINE: Final = "mine"


class JobShards:
    """Reads which shards are wanted.

    Args:
        catalog: What this node has and had.
        recovering: Knows what peers hold.
    """

    def __init__(self, catalog: Catalog, recovering: Recovering) -> None:
        self._catalog = catalog
        self._recovering = recovering

    async def wanted(self, checkpoint: CheckpointName, typed: str) -> str:
        """Return which shards of a job are to be recovered, as the journal keeps it.

        Args:
            checkpoint: What was named.
            typed: Which shards were asked for; empty: nothing was said of shards.

        Returns:
            Empty if the name is that of a checkpoint and not of a job.

        Raises:
            UsageError: Shards cannot be read, or this node had none of them.
        """
        named = named_shards(typed)
        if named is not None:
            return str(named)
        mine = self.mine(checkpoint)
        if mine is not None:
            return str(mine)
        if not typed and not await self._is_job(checkpoint):
            return ""
        raise UsageError(
            f"shards of {checkpoint}",
            "are not known: this node never had one, and none are configured",
            f"Say which: --shards 3 (or 3,7, or all), or configure them: [jobs.{checkpoint}].",
        )

    def mine(self, job: CheckpointName) -> WantedShards | None:
        """Return the shards of a job that are this node's; ``None``: that is not known.

        They are what is configured, else what this node had last.
        """
        configured = self._recovering.own_shards.get(job)
        if configured is not None:
            return configured
        known = self._catalog.known_shards(job)
        if not known:
            return None
        latest = max(known, key=lambda shard: known[shard])
        numbers = (shard.index for shard in known if shard.count == latest.count)
        return WantedShards(frozenset(numbers), latest.count)

    async def _is_job(self, name: CheckpointName) -> bool:
        """Return whether peers have shards of that name, and no version of it itself."""
        if split_shard(name) is not None or self._catalog.newest_ever(name) is not None:
            return False
        names = await heard_names(self._recovering, until=name)
        return name not in names and any(is_shard_of(each, name) for each in names)


def named_shards(typed: str) -> WantedShards | None:
    """Return the shards that somebody named; ``None``: those that are this node's are meant.

    Raises:
        UsageError: They cannot be read.
    """
    return parse_shards(typed) if typed not in {"", _MINE} else None
