"""Which shards of jobs peers claim, kept up to date with what each of them says.

So a choice costs what the job's versions are, not what all peers hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, PathId, Version
from ckptd.model.shards import split_shard

Claims: TypeAlias = dict[Digest, dict[PathId, None]]
"""The contents of one shard, and on which paths each is claimed."""

_MARK: Final = "/shard-"
"""In the name of each shard; most names have it not, and are not looked at any closer."""


class Layout(NamedTuple):
    """A version in so many shards.

    Attributes:
        version: Which version.
        shard_count: How many shards it has.
    """

    version: Version
    shard_count: int

    def __str__(self) -> str:
        return f"{self.version} in {self.shard_count} shards"


class JobClaims:
    """All claims to shards.

    What lost peers claimed counts until they are forgotten: it says where a shard was last.

    Attributes:
        revision: Grows with each change of what may be whole.
        returns: Grows when a peer is lost or found, or recovers something else.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.returns = 0
        self._jobs: dict[CheckpointName, dict[Layout, dict[int, Claims]]] = {}
        self._by_path: dict[PathId, dict[Digest, Holding]] = {}

    def note(self, path: PathId, holdings: Iterable[Holding]) -> None:
        """Take in all that is claimed on a path, in place of what was before.

        Cost: O(holdings), next to nothing for each that is as before or of no shard.
        """
        now = {each.digest: each for each in holdings if _MARK in each.checkpoint}
        before = self._by_path.get(path)
        if not now and before is None:
            return
        before = before or {}
        is_changed = False
        for digest, holding in before.items():
            if digest not in now:
                self._remove(path, holding)
                is_changed = True
        for digest, holding in now.items():
            known = before.get(digest)
            if known is not holding:
                is_changed = is_changed or known != holding
                if known is None:
                    self._add(path, holding)
        if now:
            self._by_path[path] = now
        else:
            del self._by_path[path]
        self.revision += is_changed

    def note_change(self) -> None:
        """Take in that who counts is not as before: a peer was lost, found, or recovers another."""
        self.revision += 1
        self.returns += 1

    def forget(self, path: PathId) -> None:
        """Know nothing any more that was claimed on a path."""
        self.note(path, ())

    def layouts(self, job: CheckpointName) -> list[Layout]:
        """Return the versions of a job of which any shard is claimed, the newest first."""
        return sorted(self._jobs.get(job, ()), key=lambda each: (-each.version, each.shard_count))

    def shards(self, job: CheckpointName, layout: Layout) -> Mapping[int, Claims]:
        """Return by number what is claimed of each shard of a version; of others nothing is."""
        return self._jobs.get(job, {}).get(layout, {})

    def jobs(self) -> set[CheckpointName]:
        """Return the names of all jobs."""
        return set(self._jobs)

    def _add(self, path: PathId, holding: Holding) -> None:
        split = split_shard(holding.checkpoint)
        if split is not None:
            job, shard = split
            layouts = self._jobs.setdefault(job, {})
            shards = layouts.setdefault(Layout(holding.version, shard.count), {})
            shards.setdefault(shard.index, {}).setdefault(holding.digest, {})[path] = None

    def _remove(self, path: PathId, holding: Holding) -> None:
        split = split_shard(holding.checkpoint)
        if split is None:
            return
        job, shard = split
        layouts, layout = self._jobs[job], Layout(holding.version, shard.count)
        shards = layouts[layout]
        claims = shards[shard.index]
        del claims[holding.digest][path]
        if not claims[holding.digest]:
            del claims[holding.digest]
        if not claims:
            del shards[shard.index]
        if not shards:
            del layouts[layout]
        if not layouts:
            del self._jobs[job]
