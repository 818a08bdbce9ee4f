"""Which shard a rank saves, by what its launcher says."""

from __future__ import annotations

import pytest

from ckptd.config import launched_shard
from ckptd.errors import UsageError
from ckptd.model.shards import Shard


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8"}, Shard(3, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Shard(0, 2)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}, Shard(1, 4)),
        ({"RANK": "5", "WORLD_SIZE": "16", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Shard(5, 16)),
        ({"RANK": "5", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(1, 2)),
    ],
)
def test_the_shard_of_a_rank(environment: dict[str, str], shard: Shard) -> None:
    assert launched_shard(environment) == shard


@pytest.mark.parametrize("environment", [{}, {"RANK": "3"}, {"WORLD_SIZE": "8"}])
def test_without_a_launcher_the_shard_is_to_be_named(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="finds no launcher") as refused:
        launched_shard(environment)
    assert "--shard 3/8" in str(refused.value)
    with pytest.raises(UsageError, match=r"--shards auto: finds no launcher.*--shards 3/8"):
        launched_shard(environment, option="--shards")


def test_a_rank_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\$RANK and \$WORLD_SIZE"):
        launched_shard({"RANK": "8", "WORLD_SIZE": "8"})
