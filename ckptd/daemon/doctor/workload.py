"""Says which jobs save faster than this node hashes and copies, and what would mend it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.workload_judgements import OutrunJudgement

_CHECK: Final = "workload"
_NAMED_MAX: Final = 10


async def look_at_workload(
    outrun: Callable[[], Sequence[OutrunJudgement]],
) -> AsyncGenerator[CheckRow, None]:
    """Yield what jobs that save are faster than.

    Args:
        outrun: Finds it.
    """
    found = outrun()
    for each in found[:_NAMED_MAX]:
        yield warned(_CHECK, each.checkpoint or "all jobs", each.finding, each.remedy)
    if len(found) > _NAMED_MAX:
        yield warned(
            _CHECK,
            f"{len(found) - _NAMED_MAX} more jobs",
            "save faster than this node hashes or copies",
            "'ckptctl checkpoints --workload' has all of them.",
        )
    if not found:
        yield passed(_CHECK, "saves", "none is known to come faster than it is hashed and copied")
