import msgspec
import pytest

from ckptd.control.messages.plans import exit_code_of_plan
from ckptd.control.messages.rivals import RivalRow
from ckptd.errors import ExitCode
from tests.support.control_samples import PLAN


@pytest.mark.parametrize(
    ("version", "missing", "required", "code"),
    [
        (100, 0, 0, ExitCode.DONE),
        (100, 0, None, ExitCode.DONE),
        (100, 3, 0, ExitCode.DONE),
        (100, 3, 1, ExitCode.MISSING),
        (100, 3, None, ExitCode.MISSING),
        (None, 0, None, ExitCode.MISSING),
    ],
)
def test_a_plan_ends_the_command_as_the_recovery_would(
    version: int | None, missing: int, required: int | None, code: ExitCode
) -> None:
    plan = msgspec.structs.replace(
        PLAN, version=version, missing_blocks=missing, missing_required_blocks=required
    )
    assert exit_code_of_plan(plan) is code


def test_a_plan_that_leaves_something_to_choose_ends_as_the_recovery_would() -> None:
    row = RivalRow(digest="0a" * 32, size_bytes=1, nodes=("n",))
    plan = msgspec.structs.replace(PLAN, rivals=(row, row))
    assert exit_code_of_plan(plan) is ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"is_target_taken": True}, ExitCode.FAILED),
        ({"room_bytes": 10, "free_bytes": 9}, ExitCode.FAILED),
        ({"room_bytes": 10, "free_bytes": 10}, ExitCode.DONE),
        ({"room_bytes": 10, "free_bytes": 10, "memory_bytes": 9}, ExitCode.FAILED),
        ({"room_bytes": 10, "free_bytes": 9, "is_here": True}, ExitCode.DONE),
        ({"size_problem": "has 2 GiB"}, ExitCode.FAILED),
        ({"is_target_taken": True, "version": None}, ExitCode.MISSING),
    ],
)
def test_a_plan_that_would_be_refused_is_no_success(
    changes: dict[str, int | str], code: ExitCode
) -> None:
    assert exit_code_of_plan(msgspec.structs.replace(PLAN, **changes)) is code
