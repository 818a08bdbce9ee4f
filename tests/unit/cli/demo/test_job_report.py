"""What ``ckptctl demo --job`` says in the end, and what its ranks save."""

import msgspec
import pytest

from ckptd.cli.demo.demo_checkpoint import Comparison
from ckptd.cli.demo.job_course import HALF, WHOLE, plan_shard
from ckptd.cli.demo.job_report import JobFindings, job_report_lines
from ckptd.control.messages.jobs import DifferingRow, NewestView
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.errors import ExitCode
from ckptd.limits import MIB
from ckptd.model.words import FailureCause, Result
from tests.support.control_samples import RESULT

replace = msgspec.structs.replace

RECOVERED = replace(RESULT, checkpoint="llama", version=WHOLE)
AGREED = NewestView(job="llama", version=WHOLE, shards=8, is_agreed=True, why="")
SAME = Comparison(files=7, size_bytes=16 * MIB, differences=())


def findings(
    *results: RecoveryResult,
    newest: tuple[NewestView, ...] = (AGREED, AGREED),
    comparisons: tuple[Comparison, ...] | None = (SAME, SAME),
) -> JobFindings:
    both = results or (RECOVERED, RECOVERED)
    why = f"{HALF}: shard 2/8 is missing: nobody has it, and of 3 others nobody has any"
    return JobFindings(("node-2", "node-5"), both, why, newest, comparisons)


def test_the_report_names_the_version_of_all_and_why_a_newer_one_was_passed_over() -> None:
    assert findings().exit_code == ExitCode.DONE
    assert job_report_lines(findings()) == [
        "",
        "node-2       llama@1200 after 1.4s, 2 GiB from node-b, node-c",
        "node-5       llama@1200 after 1.4s, 2 GiB from node-b, node-c",
        "passed over  1300: shard 2/8 is missing: nobody has it, and of 3 others nobody",
        "             has any",
        "newest       llama@1200 with 8 shards, say all 2 nodes",
        "compared     14 files on all nodes, 32 MiB: names, sizes, modes and every byte",
        "             the same",
        "",
        "One version on all nodes, bit for bit, although a newer one was half published.",
    ]


@pytest.mark.parametrize(
    "different",
    [
        findings(RECOVERED, replace(RECOVERED, version=HALF)),
        findings(newest=(AGREED, replace(AGREED, version=HALF))),
        findings(newest=(AGREED, replace(AGREED, version=None, is_agreed=False))),
        findings(
            newest=(
                AGREED,
                replace(
                    AGREED, is_agreed=False, differing=(DifferingRow(node="node-2", version=HALF),)
                ),
            )
        ),
    ],
)
def test_nodes_with_different_versions_are_a_failure(different: JobFindings) -> None:
    assert different.exit_code == ExitCode.CONFLICT
    assert job_report_lines(different)[-1] == "FAILED: the nodes do not have the same version."


def test_one_difference_is_enough_to_fail() -> None:
    other = Comparison(2, 10, tuple(f"{number} has other bytes" for number in range(7)))
    different = findings(comparisons=(SAME, other))
    assert different.exit_code == ExitCode.VERIFICATION
    lines = job_report_lines(different)
    assert lines[-1] == "FAILED: what is on the nodes is not what was saved."
    assert lines[-4:-2] == ["  4 has other bytes", "  …"]


def test_a_recovery_that_failed_is_named_with_its_node() -> None:
    failed = replace(
        RECOVERED,
        result=Result.FAILED,
        cause=FailureCause.REQUIRED_MISSING,
        message="no version of llama is whole",
    )
    some = findings(RECOVERED, failed, comparisons=None)
    assert some.exit_code == ExitCode.MISSING
    assert job_report_lines(some) == [
        "",
        "node-5: the recovery failed: no version of llama is whole.",
    ]


@pytest.mark.parametrize("size_bytes", [2 * MIB, 32 * MIB + 1])
def test_a_rank_saves_as_much_as_it_should_and_a_file_that_all_ranks_have(size_bytes: int) -> None:
    files, others = plan_shard(0, size_bytes), plan_shard(1, size_bytes)
    assert sum(file.size_bytes for file in files) == size_bytes
    assert {file.path for file in files} & {file.path for file in others} == {"config.json"}
    assert files[0] == others[0]
    assert files[0].text is not None
