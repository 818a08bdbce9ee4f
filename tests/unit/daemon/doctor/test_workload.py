"""What is said of jobs that save faster than they are caught up with."""

from __future__ import annotations

from ckptd.daemon.doctor.workload import look_at_workload
from ckptd.model.ids import CheckpointName
from ckptd.model.words import CheckResult, Outrun
from ckptd.model.workload_judgements import OutrunJudgement


async def findings(*outrun: OutrunJudgement) -> list[tuple[str, CheckResult, str, str]]:
    rows = look_at_workload(lambda: outrun)
    return [(row.subject, row.verdict, row.finding, row.remedy) async for row in rows]


def judgement(name: str | None) -> OutrunJudgement:
    checkpoint = None if name is None else CheckpointName(name)
    return OutrunJudgement(Outrun.HASHING, checkpoint, "is too fast", "Save less.")


async def test_each_job_that_is_too_fast_is_named_with_what_mends_it() -> None:
    assert await findings(judgement("llama"), judgement(None)) == [
        ("llama", CheckResult.WARN, "is too fast", "Save less."),
        ("all jobs", CheckResult.WARN, "is too fast", "Save less."),
    ]


async def test_ten_are_named_and_the_others_counted() -> None:
    found = await findings(*(judgement(f"job-{number}") for number in range(13)))
    assert len(found) == 11
    assert found[-1][0] == "3 more jobs"


async def test_where_all_are_caught_up_with_nothing_is_to_be_done() -> None:
    ((subject, verdict, _, _),) = await findings()
    assert (subject, verdict) == ("saves", CheckResult.OK)
