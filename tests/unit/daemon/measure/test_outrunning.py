"""Which settings are taken for what binds the saves of a job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from ckptd.config import Config
from ckptd.config.copy_values import CopiesSection
from ckptd.daemon.measure.outrunning import outrun_by, settings_for
from ckptd.limits import GIB, MIB
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.rate_limits import parse_limit_key
from ckptd.model.words import Outrun
from ckptd.model.workload import SavedVersion, joint_workloads_of
from ckptd.model.workload_judgements import LimitInForce, WorkloadSettings

GPT, LLAMA = CheckpointName("gpt"), CheckpointName("llama")
LIMITS = {
    parse_limit_key(name): rate
    for name, rate in {
        "egress.total": 4 * MIB,
        "egress.background": 3 * MIB,
        "egress.peers.node-b": 1 * MIB,
        "ingress.total": 6 * MIB,
        "disk_write.total": 5 * MIB,
    }.items()
}


def config(copies: CopiesSection | None = None) -> Config:
    watch = [
        SimpleNamespace(checkpoint=CheckpointName(name), rate_bytes_per_s=rate)
        for name, rate in [("gpt/shard-0-of-2", 9 * MIB), ("gpt/shard-1-of-2", 8 * MIB)]
    ]
    return cast("Config", SimpleNamespace(watch=watch, copies=copies or CopiesSection()))


def test_the_lowest_of_what_counts_for_all_peers_is_what_binds() -> None:
    assert settings_for(GPT, config(), LIMITS) == WorkloadSettings(
        8 * MIB,
        LimitInForce("egress.background", 3 * MIB),
        LimitInForce("disk_write.total", 5 * MIB),
    )
    assert settings_for(LLAMA, config(), {}) == WorkloadSettings()


def test_copies_count_where_the_checkpoint_is_listed() -> None:
    copies = config(CopiesSection(names=("gp*",), normal=2))
    assert settings_for(GPT, copies, {}).copies == 2
    assert settings_for(LLAMA, copies, {}).copies is None


def test_each_job_is_judged_and_all_together() -> None:
    def saves(name: str, hashed_s: float) -> list[SavedVersion]:
        return [
            SavedVersion(
                CheckpointName(name),
                Version(number),
                1.0,
                "d",
                10.0 * number,
                GIB,
                hashed_s=hashed_s,
            )
            for number in range(1, 4)
        ]

    def outrun(*versions: SavedVersion) -> list[tuple[Outrun, str | None]]:
        found = outrun_by(joint_workloads_of(versions), config(), {}, now_s=31.0)
        return [(each.outrun, each.checkpoint) for each in found]

    assert outrun(*saves("a", 6.0), *saves("b", 12.0)) == [(Outrun.HASHING, "b")]
    assert outrun(*saves("a", 6.0), *saves("b", 6.0)) == [(Outrun.HASHING, None)]
    assert outrun(*saves("a", 6.0)) == []
