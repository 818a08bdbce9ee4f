"""Why a recovery went as it did: while it runs, after it ended, and after a restart."""

import json

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import NotFound
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node
from tests.support.fault_proxy import fault_proxy
from tests.support.peers import liar

pytestmark = pytest.mark.integration


def codes(known: ExplanationView) -> dict[str, str]:
    return {peer.node: peer.code for peer in known.peers}


def check_tuning(view: RecoveryView) -> None:
    """Check what is said of how the only source is used."""
    (row,) = view.sources
    assert row.tuning is not None
    assert row.tuning.silence_timeout_s >= 0.5
    assert row.tuning.window_bytes > row.tuning.range_bytes > 0
    assert row.tuning.lanes == view.lanes >= 1


def test_a_recovery_is_explained_while_it_runs_after_it_ended_and_after_a_restart(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    idle = cluster.node("b")
    with fault_proxy(source.data_port, rate_bytes_per_s=16 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address, idle.address])
        recovery = receiver.begin(version=None)
        view = receiver.wait_bytes(recovery, 4 * MIB)
        link.hold()
        check_tuning(view)
        # While we are slow ourselves for a moment it says so.
        receiver.wait_view(recovery, lambda view: view.bottleneck == "source", "the only one")
        running = receiver.client.explain(recovery)
        assert running.why == "newest of which every block is reachable"
        assert codes(running) == {"a": "used", "b": "not_held"}
        receiver.client.pause(recovery)
        view = receiver.wait_view(recovery, lambda view: not view.transfers, "nothing comes")
        assert (view.bottleneck, view.waiting_for) == (None, "an operator to resume it")
        receiver.client.resume(recovery)
        link.heal()
        result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    ended = receiver.client.explain(recovery)
    assert (ended.stage, ended.is_story_kept) == ("complete", True)
    assert ended.counts == result.happenings
    assert ended.wasted == result.wasted
    assert sum(result.wasted.values()) == result.bytes_wasted
    standstills = [happening for happening in ended.story if happening.kind == "standstill"]
    assert standstills[-1].reason == "paused"
    (used,) = (peer for peer in ended.peers if peer.code == "used")
    assert (used.share, used.bytes) == (1.0, result.bytes_total)

    receiver.restart()
    old = receiver.client.explain(recovery)
    assert (old.is_story_kept, old.story) == (False, ())
    assert old.counts == ended.counts
    socket = ("--socket", receiver.client.socket_path)
    assert ckptctl([*socket, "explain", recovery[:6], "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == ended.counts
    with pytest.raises(NotFound):
        receiver.client.explain("r-nobody")


def test_a_source_that_lies_is_explained_with_what_it_did(
    sources: list[Node], cluster: Cluster
) -> None:
    with liar("liar", sources[1].data_port) as lying:
        receiver = cluster.node("r", peers=[lying.address, sources[0].address])
        receiver.wait_ready()
        recovery = receiver.begin()
        result = receiver.result(recovery)
        known = receiver.client.explain(recovery)
    assert codes(known)["a"] == "used"
    if lying.lies:
        assert known.counts["bad_blocks"] > 0
        assert result.wasted["corrupt"] > 0
