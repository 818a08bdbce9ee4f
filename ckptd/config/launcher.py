"""Which rank of how many a process is, as launchers of jobs say it in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ckptd.errors import UsageError
from ckptd.model.shards import Shard, parse_shard

_VARIABLES: Final = (
    ("RANK", "WORLD_SIZE"),  # torchrun, accelerate, deepspeed
    ("SLURM_PROCID", "SLURM_NTASKS"),  # srun
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # mpirun of Open MPI
)
"""In this order: torchrun below srun is the one that knows the job's ranks."""


def shard_of_launcher(environment: Mapping[str, str], option: str = "--shard") -> Shard:
    """Return the shard that this rank saves.

    Args:
        environment: Where launchers say it.
        option: With what a person says it.

    Raises:
        UsageError: No launcher says so, or what it says cannot be.
    """
    for rank, count in _VARIABLES:
        if rank in environment and count in environment:
            try:
                return parse_shard(f"{environment[rank]}/{environment[count]}")
            except UsageError as error:
                raise UsageError(
                    f"${rank} and ${count}",
                    f"say {environment[rank]!r} of {environment[count]!r}, which is no rank",
                    f"Name the shard: {option} 3/8.",
                ) from error
    names = ", ".join(f"${rank} and ${count}" for rank, count in _VARIABLES)
    raise UsageError(
        f"{option} auto",
        f"finds no launcher: none of {names} are set",
        f"Name it: {option} 3/8.",
    )
