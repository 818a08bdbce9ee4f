"""What a recovery would do, and what is known of the peers afterwards."""

import json

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.errors import ExitCode, NotFound, UsageError
from ckptd.model.words import Confirmation, RateOrigin, Result, SourceState
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint
from tests.support.metrics_page import samples
from tests.support.peers import liar

pytestmark = pytest.mark.integration


def settled_plan(node: Node, version: int | None = None) -> Plan:
    """Return the plan once every peer was asked."""
    request = PlanRequest(checkpoint=NAME, version=version)

    def look() -> Plan | None:
        plan = node.client.plan(request)
        return plan if plan.is_settled and plan.version is not None else None

    return eventually(look, "a version can be chosen")


def test_a_plan_says_what_a_recovery_then_does(
    sources: list[Node], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = cluster.node("r", peers=[source.address for source in sources])
    before = settled_plan(receiver)
    assert (before.version, before.why) == (100, "newest of which every block is reachable")
    assert [(source.node, source.is_complete) for source in before.sources] == [
        ("a", True),
        ("b", True),
    ]
    assert {source.rate_bytes_per_s for source in before.sources} == {None}
    assert (before.predicted_critical_s, before.predicted_complete_s) == (None, None)
    assert before.prediction_remark == "no rate is known yet, of a, b"
    assert (before.missing_blocks, before.missing_units, before.here) == (0, (), None)
    assert before.bytes_by_class is not None
    assert before.bytes_by_class.deferred == 8 * 2**20 - 1
    assert before.needed_bytes == before.bytes_total < before.free_bytes
    assert before.target == str(receiver.path(NAME, "100"))
    assert not receiver.path(NAME).exists(), "nothing moved"

    first = receiver.recover()
    assert (first.target, first.bytes_received - first.bytes_wasted) == (
        before.target,
        before.needed_bytes,
    )
    assert first.predicted_duration_s is None

    after = settled_plan(receiver, 100)
    assert after.why == "named"
    assert after.here is not None
    assert (after.here.is_complete, after.here.directory) == (True, before.target)
    assert (after.needed_bytes, after.room_bytes, after.predicted_complete_s) == (0, 0, 0)
    assert (after.is_here, after.bytes_local) == (True, after.bytes_total)

    second = receiver.recover(to=receiver.path("again"))
    assert second.result is Result.COMPLETE
    assert second.predicted_duration_s is not None
    assert second.predicted_critical_s is not None
    assert 0 < second.predicted_critical_s <= second.predicted_duration_s

    command = ["--socket", receiver.client.socket_path]
    to = str(receiver.path("by-hand"))
    assert ckptctl([*command, "recover", f"{NAME}@100", "--wait", "--to", to]) == ExitCode.DONE
    assert "\npredicted " in capsys.readouterr().out
    assert ckptctl([*command, "plan", NAME]) == ExitCode.DONE
    assert "newest of which every block is reachable" in capsys.readouterr().out
    assert ckptctl([*command, "plan", f"{NAME}@7", "-o", "json"]) == ExitCode.MISSING
    assert json.loads(capsys.readouterr().out)["why"] == "nobody has version 7"


def test_a_plan_for_something_new_is_predicted_from_what_earlier_recoveries_showed(
    cluster: Cluster,
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    assert receiver.recover().result is Result.COMPLETE
    source.publish(make_checkpoint(source.path("101"), seed=2), version=101)
    plan = eventually(
        lambda: next((p for p in [settled_plan(receiver)] if p.version == 101), None),
        "the new version is known",
    )
    assert [(other.version, other.why) for other in plan.passed_over] == [(100, "older")]
    assert plan.predicted_critical_s is not None
    assert plan.predicted_complete_s is not None
    assert 0 < plan.predicted_critical_s < plan.predicted_complete_s
    assert plan.prediction_remark == ""
    (row,) = plan.sources
    assert row.rate_bytes_per_s is not None
    # The recovery's own prediction is that one and what it took to begin.
    result = receiver.recover(version=101)
    assert result.predicted_duration_s is not None
    assert result.predicted_duration_s >= plan.predicted_complete_s


def test_a_plan_that_makes_no_sense_is_refused(sources: list[Node], cluster: Cluster) -> None:
    receiver = cluster.node("r")
    with pytest.raises(UsageError, match=r"checkpoint name '\.\./a'"):
        receiver.client.plan(PlanRequest(checkpoint="../a"))
    with pytest.raises(UsageError, match="version -1"):
        receiver.client.plan(PlanRequest(checkpoint="a", version=-1))


def test_a_lying_source_is_shown_with_every_bad_block(
    sources: list[Node], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with liar("liar", sources[1].data_port) as lying:
        receiver = cluster.node("r", peers=[lying.address, sources[0].address])
        eventually(lambda: len(settled_plan(receiver).sources) == 2, "both are known")
        result = receiver.recover()
        assert result.result is Result.COMPLETE
        view = eventually(
            lambda: next(
                (
                    peer
                    for peer in [receiver.client.peer("liar")]
                    if peer.evidence
                    and Confirmation.PENDING not in {bad.answer for bad in peer.evidence}
                ),
                None,
            ),
            "it was asked about every bad block",
        )
        first = view.evidence[-1]
        assert (first.checkpoint, first.version, first.recovery) == (NAME, 100, result.recovery)
        assert first.answer is Confirmation.HELD
        assert receiver.path(NAME, "100", first.unit).is_file()
        started_at_s = receiver.client.status().started_at_s
        assert started_at_s <= first.at_s <= started_at_s + 600
        assert view.bad_blocks == len(view.evidence)
        assert view.quarantines or view.trust < 0
        assert samples(receiver, "quarantines_total") == {"": view.quarantines}
        assert (view.state is SourceState.DISTRUSTED) == (view.quarantined_until_s is not None)

        command = ["--socket", receiver.client.socket_path, "peers", "show"]
        assert ckptctl([*command, "liar"]) == ExitCode.DONE
        shown = capsys.readouterr().out
        assert f"{NAME}@100" in shown
        assert "stands by it" in shown
        assert ckptctl([*command, "a", "-o", "json"]) == ExitCode.DONE
        honest = json.loads(capsys.readouterr().out)
        assert (honest["evidence"], honest["quarantines"]) == ([], 0)
        with pytest.raises(NotFound, match=r"peer 'nobody': is not known\. Known: a, liar\."):
            receiver.client.peer("nobody")


def test_a_restarted_daemon_predicts_from_what_it_learned_before(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    assert receiver.recover().result is Result.COMPLETE
    learned = receiver.client.peer("a")
    assert learned.rate_bytes_per_s is not None
    assert learned.rate_from is RateOrigin.RECOVERY
    source.publish(make_checkpoint(source.path("101"), seed=2), version=101)
    receiver.stop()
    receiver.start()
    receiver.wait_ready()
    plan = settled_plan(receiver, 101)
    (row,) = plan.sources
    assert row.rate_bytes_per_s == pytest.approx(learned.rate_bytes_per_s, rel=0.01)
    assert (row.rate_from, row.rate_age_s is not None) == (RateOrigin.RECOVERY, True)
    assert plan.predicted_complete_s is not None
    assert plan.prediction_remark == ""
    result = receiver.recover(version=101)
    assert result.predicted_duration_s is not None


def test_a_fresh_daemon_predicts_once_the_doctor_has_measured(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    assert settled_plan(receiver).predicted_complete_s is None
    assert ckptctl(["--socket", receiver.client.socket_path, "doctor"]) in {
        ExitCode.DONE,
        ExitCode.PARTIAL,
    }
    capsys.readouterr()
    plan = settled_plan(receiver)
    (row,) = plan.sources
    assert row.rate_from is RateOrigin.DOCTOR
    assert plan.predicted_complete_s is not None
    assert ckptctl(["--socket", receiver.client.socket_path, "plan", NAME]) == ExitCode.DONE
    assert " by doctor" in capsys.readouterr().out
    receiver.stop()
    receiver.start()
    receiver.wait_ready()
    assert settled_plan(receiver).sources[0].rate_from is RateOrigin.DOCTOR
