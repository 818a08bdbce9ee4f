"""What is answered about what jobs do to a node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.control.messages.workloads import AbsorbingView, WorkloadRequest, WorkloadView
from ckptd.daemon.answer.workload_answers import WorkloadAnswers
from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import Outrun
from ckptd.model.workload import SavedVersion, joint_workloads_of, workloads_of
from ckptd.model.workload_judgements import OutrunJudgement

NOW_S = 1000.0


def saves(name: str, **more: float) -> list[SavedVersion]:
    return [
        SavedVersion(
            CheckpointName(name),
            Version(number),
            NOW_S,
            "d",
            NOW_S - (3 - number) * 10.0,
            100,
            **more,  # type: ignore[arg-type]
        )
        for number in range(4)
    ]


VERSIONS = [
    *saves("gpt/shard-0-of-2", hashed_s=2.0, changed_bytes=30),
    *saves("gpt/shard-1-of-2", hashed_s=4.0, changed_bytes=10),
    *saves("llama"),
]


def judged(name: str | None) -> OutrunJudgement:
    checkpoint = None if name is None else CheckpointName(name)
    return OutrunJudgement(Outrun.HASHING, checkpoint, "is too fast", "Save less.")


def ask(name: str = "") -> WorkloadView:
    workloads = SimpleNamespace(
        joint=lambda: joint_workloads_of(VERSIONS),
        of_family=lambda family: workloads_of(
            each for each in VERSIONS if each.checkpoint.split("/shard-")[0] == family
            or each.checkpoint == family
        ),
    )  # fmt: skip
    measures = SimpleNamespace(
        workloads=workloads, outrun=lambda: [judged("gpt"), judged("llama"), judged(None)]
    )
    recovering = SimpleNamespace(
        book=SimpleNamespace(ended=tuple),
        scheduler=SimpleNamespace(learned_rates=lambda now: {}),
        runtime=SimpleNamespace(now=lambda: 0),
    )
    parts = SimpleNamespace(wall_clock=lambda: NOW_S)
    answers = WorkloadAnswers(cast("Any", measures), cast("Any", recovering), cast("Any", parts))
    return answers.workload(WorkloadRequest(name=name))


def test_jobs_are_shown_whole_and_all_that_outruns_is() -> None:
    view = ask()
    assert [(row.checkpoint, row.shards) for row in view.rows] == [("gpt", 2), ("llama", 0)]
    gpt = view.rows[0]
    assert (gpt.interval_s, gpt.last_interval_s, gpt.saved_age_s) == (10.0, 10.0, 0.0)
    assert (gpt.size_bytes, gpt.changed_share, gpt.hashed_s) == (200, 0.2, 6.0)
    assert (gpt.versions, gpt.published, gpt.newest, gpt.is_current) == (4, 4, 3, True)
    assert gpt.outrun == (Outrun.HASHING,)
    assert (view.shards, view.versions, view.hashing_share) == ((), (), 0.6)
    assert [row.checkpoint for row in view.outrun] == ["gpt", "llama", ""]


def test_of_a_job_that_is_named_shards_and_versions_are_shown() -> None:
    view = ask("gpt")
    assert [row.checkpoint for row in view.rows] == ["gpt"]
    assert [row.checkpoint for row in view.shards] == ["gpt/shard-0-of-2", "gpt/shard-1-of-2"]
    assert [(each.version, each.hashed_s, each.saved_age_s) for each in view.versions] == [
        (0, 6.0, 30.0),
        (1, 6.0, 20.0),
        (2, 6.0, 10.0),
        (3, 6.0, 0.0),
    ]
    assert view.versions[0].changed_share == 0.2
    assert [row.checkpoint for row in view.outrun] == ["gpt", ""]


def test_a_shard_that_is_named_is_shown_by_itself() -> None:
    view = ask("gpt/shard-1-of-2")
    assert [(row.checkpoint, row.hashed_s) for row in view.rows] == [("gpt/shard-1-of-2", 4.0)]
    assert (view.shards, len(view.versions)) == ((), 4)
    assert [row.checkpoint for row in view.outrun] == ["gpt", ""]


def test_what_is_not_known_is_empty_and_what_is_no_name_is_refused() -> None:
    view = ask("nothing")
    assert (view.rows, view.shards, view.versions) == ((), (), ())
    assert view.absorbing == AbsorbingView(
        recoveries=0, brought_bytes_per_s=None, peer="", peer_bytes_per_s=None
    )
    with pytest.raises(UsageError):
        ask("no\nname")
