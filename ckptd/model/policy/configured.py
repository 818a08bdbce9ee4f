"""Policies of the configuration: for which checkpoints each counts, and how versions are placed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ckptd.model.ids import CheckpointName
from ckptd.model.patterns import compile_pattern
from ckptd.model.policy.rules import Policy
from ckptd.model.shards import split_shard
from ckptd.model.words import PlaceMode


@dataclass(frozen=True, slots=True)
class ConfiguredPolicy:
    """A policy with the checkpoints that it is for.

    Attributes:
        checkpoint: Pattern of their names; that of a job is for its shards as well.
        policy: What it says of their units.
        place: How their versions are placed; ``None``: it does not say.
    """

    checkpoint: str
    policy: Policy
    place: PlaceMode | None = None

    def counts_for(self, checkpoint: CheckpointName) -> bool:
        """Return whether it is for a checkpoint."""
        split = split_shard(checkpoint)
        names = (checkpoint,) if split is None else (checkpoint, split[0])
        return any(map(compile_pattern(self.checkpoint).match, names))


def policies_for(
    configured: Iterable[ConfiguredPolicy], checkpoint: CheckpointName
) -> tuple[Policy, ...]:
    """Return the policies that count for a checkpoint, in order of precedence."""
    return tuple(each.policy for each in configured if each.counts_for(checkpoint))


def place_mode_for(
    configured: Iterable[ConfiguredPolicy], checkpoint: CheckpointName
) -> PlaceMode | None:
    """Return how versions of a checkpoint are placed; ``None`` if no policy says so."""
    said = (each.place for each in configured if each.place and each.counts_for(checkpoint))
    return next(said, None)
