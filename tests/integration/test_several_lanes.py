"""Several lanes to one source: tried, kept where they pay, given up where they do not."""

import json

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.explanations import Happening
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, make_checkpoint, needlessly_wasted_bytes
from tests.support.fault_proxy import fault_proxy

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def source_of(cluster: Cluster, size_bytes: int) -> Node:
    source = cluster.node("a")
    make_checkpoint(source.path("100"), files=[PlannedFile("model.safetensors", size_bytes)])
    source.publish(source.path("100"), critical=(), deferred=())
    return source


def tries(receiver: Node, recovery: str) -> list[Happening]:
    story = receiver.client.explain(recovery).story
    return [known for known in story if known.kind == "lanes_tried"]


def test_where_every_connection_is_limited_lanes_are_added_and_nothing_is_fetched_twice(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_of(cluster, 160 * MIB)  # enough that there is time to try, however busy we are
    with fault_proxy(source.data_port) as link:
        link.replies.connection_rate_bytes_per_s = 4 * MIB
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin(version=None)
        view = receiver.wait_view(recovery, lambda view: view.lanes > 2, "a third lane")
        (row,) = view.sources
        assert row.tuning is not None
        assert row.tuning.lanes == view.lanes
        assert ckptctl(["--socket", receiver.client.socket_path, "status", "-o", "json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["recoveries"]
        assert shown["lanes"] > 2
        result = receiver.result(recovery)
    assert (result.result, needlessly_wasted_bytes(result)) == (Result.COMPLETE, 0)
    # A moment in which we are slow ends a trial as well; the next one finds what there is.
    found = [
        (each.reason, each.numbers.get("before_lanes"), each.numbers.get("lanes"))
        for each in tries(receiver, recovery)
    ]
    assert ("faster", 1, 2) in found


def test_where_connections_share_what_there_is_the_second_lane_is_given_up_again(
    cluster: Cluster,
) -> None:
    source = source_of(cluster, 128 * MIB)
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin(version=None)
        receiver.wait_view(recovery, lambda view: view.lanes == 2, "a second lane")

        def is_settled(view: RecoveryView) -> bool:
            found = tries(receiver, recovery)
            return bool(found) and view.lanes == found[-1].numbers["lanes"]

        receiver.wait_view(recovery, is_settled, "as many lanes as the trial says")
        # What came before and after may differ because we were slow for a moment; which trial
        # ends how is said in tests/simulation/test_several_lanes.py.
        for tried in tries(receiver, recovery):
            before, after = tried.numbers["before_lanes"], tried.numbers["lanes"]
            assert after == before + (tried.reason == "faster")
        link.heal()
        result = receiver.result(recovery)
    assert (result.result, needlessly_wasted_bytes(result)) == (Result.COMPLETE, 0)
