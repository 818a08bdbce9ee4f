"""A recovery of some units of a version, what it is worth to others, and how it is completed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.recovery_results import RecoveryResult, exit_code_of
from ckptd.errors import ExitCode, NotFound
from ckptd.limits import MIB
from ckptd.model.words import FailureCause, Location, PlaceState, Result, Stage
from ckptd.store.files.layout import PARTIAL_MARKER
from tests.support.cluster import NAME, Cluster, Node, eventually, tree_digest
from tests.support.fault_proxy import fault_proxy

pytestmark = pytest.mark.integration

MODEL = "model-*"


def size_of(source: Node, pattern: str) -> int:
    return sum(path.stat().st_size for path in source.path("100").glob(pattern))


def check_only(result: RecoveryResult, *patterns: str) -> None:
    """Check that the units of some patterns stand there, what has no bytes, and nothing else."""
    target = Path(result.target)
    marker = json.loads((target / PARTIAL_MARKER).read_bytes())
    assert marker["is_by_choice"]
    files = {path for path in target.rglob("*") if path.is_file() and path.stat().st_size}
    found = (path for pattern in patterns for path in target.glob(pattern))
    assert files == {*found, target / PARTIAL_MARKER}


def place_state(node: Node) -> tuple[PlaceState, Location | None]:
    (row,) = node.client.checkpoints()
    (place,) = row.places
    return place.state, row.held


def test_units_that_were_chosen_are_served_and_completed_after_a_restart(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    size = size_of(source, MODEL)
    first = cluster.node("b", peers=[source.address])
    typo = first.recover(units=["modell-*"])
    assert (typo.cause, exit_code_of(typo)) == (FailureCause.UNKNOWN, ExitCode.MISSING)
    assert "'modell-*'" in typo.message
    assert "model-1.safetensors" in typo.message
    result = first.recover(units=[MODEL])
    assert (result.result, exit_code_of(result)) == (Result.CHOSEN, ExitCode.DONE)
    assert (result.bytes_total, result.bytes_placed, result.bytes_received) == (size,) * 3
    check_only(result, MODEL)

    source.stop()
    second = cluster.node("c", peers=[first.address])
    # The newest of which all that is chosen is within reach: nobody has all of it.
    request = PlanRequest(checkpoint=NAME, units=("model-1*", "small/00"))

    def settled_plan() -> Plan | None:
        plan = second.client.plan(request)
        return plan if plan.is_settled and plan.version is not None else None

    plan = eventually(settled_plan, "a version can be chosen")
    assert (plan.version, plan.units, plan.missing_blocks) == (100, 3, 0)
    assert plan.bytes_total == plan.needed_bytes == size_of(source, "model-1*")
    with pytest.raises(NotFound, match="'modle': matches no unit"):
        second.client.plan(PlanRequest(checkpoint=NAME, units=("modle",)))
    served = second.recover(version=None, units=["model-1*"])
    assert (served.result, served.version) == (Result.CHOSEN, 100)
    assert {share.node for share in served.sources} == {"b"}
    check_only(served, "model-1*")
    socket = ["--socket", second.client.socket_path]
    assert ckptctl([*socket, "checkpoints"]) == ExitCode.DONE
    assert "here in part by choice: " in capsys.readouterr().out
    assert ckptctl([*socket, "recoveries"]) == ExitCode.DONE
    assert "in part by choice" in capsys.readouterr().out
    ckptctl([*socket, "doctor"])
    assert f"here in part by choice: {NAME}@100" in capsys.readouterr().out

    source.restart()
    first.restart()
    assert place_state(first)[0] is PlaceState.CHOSEN
    completed = first.recover()
    assert completed.result is Result.COMPLETE
    assert completed.bytes_received == completed.bytes_total - size, "nothing came twice"
    assert tree_digest(completed.target) == tree_digest(source.path("100"))
    assert place_state(first) == (PlaceState.HERE, Location.HERE)


def test_the_rest_of_what_is_critical_follows_also_across_a_restart(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    source.publish(source.path("100"), "urgent", critical=("model-2*",))
    with fault_proxy(source.data_port, rate_bytes_per_s=4 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin("urgent", min_criticality="critical")
        receiver.wait_bytes(recovery, 1 * MIB)
        receiver.client.pause(recovery)
        receiver.kill()
        receiver.restart()
        view = receiver.wait_view(
            recovery, lambda view: view.stage is Stage.TRANSFERRING, "it transfers"
        )
        assert (view.is_by_choice, view.rest_follows) == (True, True)
        assert receiver.begin("urgent", units=["config.*"]) == recovery
        receiver.client.resume(recovery)
        assert ckptctl(["--socket", receiver.client.socket_path, "watch", recovery]) == 0
        said = capsys.readouterr().out
        result = receiver.result(recovery)
        assert result.result is Result.CHOSEN
        assert result.followed_by is not None
        assert f"the rest follows as recovery {result.followed_by}" in said
        receiver.kill()
        link.replies.rate_bytes_per_s = None
        receiver.restart()
        completed = receiver.result(result.followed_by)
    assert completed.result is Result.COMPLETE
    assert completed.bytes_local >= result.bytes_total, "nothing came twice"
    assert tree_digest(completed.target) == tree_digest(source.path("100"))
