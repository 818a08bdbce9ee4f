"""A link leads readers to the active version, between real daemons."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.current_links import ActivateRequest, LinkRow
from ckptd.control.messages.life_cycle import LetGoRequest, RemoveRequest
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import Conflict
from ckptd.limits import KIB
from ckptd.model.words import Result
from tests.benchmarks.swapping import VERSIONS, make_versions, swap
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 300 * KIB)]


def activate(node: Node, version: int) -> LinkRow:
    (row,) = node.client.activate(ActivateRequest(checkpoint=NAME, version=version)).links
    return row


def active_links(node: Node) -> dict[int, str]:
    """Return which versions are active, as ``ckptctl checkpoints`` says."""
    return {
        row.version: place.active_link
        for row in node.client.checkpoints()
        for place in row.places
        if place.active_link
    }


def test_who_opens_the_link_once_sees_one_version_however_often_it_is_swapped(
    cluster: Cluster,
) -> None:
    node = cluster.node("a")
    make_versions(node)
    swaps = swap(node, 200)
    assert swaps.seen == set(VERSIONS)
    assert sorted(os.listdir(node.path(NAME))) == ["100", "200", "current"]


def test_what_is_active_is_let_go_only_when_the_link_leads_elsewhere(cluster: Cluster) -> None:
    node = cluster.node("a")
    make_versions(node, files=1)
    link = node.path(NAME, "current")
    row = activate(node, 100)
    assert (row.link, row.version_before, link.readlink()) == (str(link), None, Path("100"))
    assert active_links(node) == {100: str(link)}
    let_go = LetGoRequest(checkpoint=NAME, version=100)
    with pytest.raises(Conflict, match=r"is active: .*/current leads to it\. Activate another"):
        node.client.withdraw(let_go)
    with pytest.raises(Conflict, match=f"ckptctl activate --none {NAME}"):
        node.client.forget(LetGoRequest(checkpoint=NAME))
    with pytest.raises(Conflict, match="is active"):
        list(node.client.remove(RemoveRequest(checkpoint=NAME, version=100)))
    node.restart()
    assert active_links(node) == {100: str(link)}
    assert activate(node, 200).version_before == 100
    list(node.client.remove(RemoveRequest(checkpoint=NAME, version=100)))
    assert sorted(os.listdir(node.path(NAME))) == ["200", "current"]
    away = ActivateRequest(checkpoint=NAME, takes_away=True)
    assert [row.version_before for row in node.client.activate(away).links] == [200]
    assert os.listdir(node.path(NAME)) == ["200"]
    node.client.withdraw(LetGoRequest(checkpoint=NAME, version=200))
    with pytest.raises(Conflict, match=r"is withdrawn\. Publish the directory again"):
        activate(node, 200)
    assert len(node.events("version.deactivated")) == 1


def test_what_changed_a_moment_ago_does_not_become_active(cluster: Cluster) -> None:
    node = cluster.node("a", sections='[store]\ncheck_every = "1h"\n')
    make_versions(node, files=2)
    activate(node, 100)
    node.path(NAME, "200", "part-0").write_text("shorter")
    with pytest.raises(Conflict, match="is stale: "):
        activate(node, 200)
    assert node.path(NAME, "current").readlink() == Path("100")


@pytest.fixture
def receiver(cluster: Cluster) -> Node:
    """A node that may recover versions 100 and 200."""
    source = cluster.node("a")
    for version in (100, 200):
        make_checkpoint(source.path(f"{version}"), seed=version, files=FILES)
        source.publish(source.path(f"{version}"), version=version, deferred=())
    return cluster.node("r", peers=[source.address])


def test_what_is_recovered_becomes_active_when_it_is_placed(
    cluster: Cluster, receiver: Node
) -> None:
    link = receiver.path(NAME, "current")
    first = receiver.result(receiver.begin(activate=True))
    assert (first.result, first.link, first.link_problem) == (Result.COMPLETE, str(link), "")
    assert tree_digest(link.resolve()) == tree_digest(cluster.nodes[0].path("100"))
    again = receiver.result(receiver.begin(version=200, activate=True))
    assert (again.link, link.readlink()) == (str(link), Path("200"))
    here = receiver.result(receiver.begin(version=100, activate=True))
    assert (here.was_here, link.readlink()) == (True, Path("100"))
    link.unlink()
    link.write_text("precious")
    with pytest.raises(Conflict, match="is no link, and is not replaced"):
        receiver.begin(version=200, activate=True)
    assert receiver.result(receiver.begin(version=200)).result is Result.COMPLETE
    assert link.read_text() == "precious"


def test_who_joins_a_recovery_may_want_it_to_become_active(
    cluster: Cluster, receiver: Node
) -> None:
    begun = receiver.begin(version=300)  # which nobody has yet
    assert not receiver.client.recovery(begun).is_activating
    assert receiver.begin(version=300, activate=True) == begun
    assert receiver.client.recovery(begun).is_activating
    receiver.restart()
    assert receiver.client.recovery(begun).is_activating, "the journal has it"
    source = cluster.nodes[0]
    make_checkpoint(source.path("300"), seed=300, files=FILES)
    source.publish(source.path("300"), version=300, deferred=())
    assert receiver.result(begun).link == str(receiver.path(NAME, "current"))
    assert receiver.path(NAME, "current").readlink() == Path("300")


def test_the_shards_of_a_job_become_active_in_one_directory(cluster: Cluster) -> None:
    source = cluster.node("a")
    for rank in range(2):
        make_checkpoint(source.path(f"{rank}"), seed=rank, files=[PlannedFile(f"rank-{rank}", 999)])
        source.publish(
            source.path(f"{rank}"), f"llama/shard-{rank}-of-2", 7, critical=(), deferred=()
        )
    node = cluster.node("r", peers=[source.address])
    request = RecoverRequest(checkpoint="llama", shards="all", activate=True)
    result = node.result(node.client.recover(request).recovery)
    assert result.link == str(node.path("llama/current"))
    assert sorted(os.listdir(result.link)) == ["rank-0", "rank-1"]
    for shard in range(2):
        with pytest.raises(Conflict, match=r"ckptctl activate --none llama$"):
            node.client.withdraw(LetGoRequest(checkpoint=f"llama/shard-{shard}-of-2"))
    node.client.activate(ActivateRequest(checkpoint="llama", takes_away=True))
    node.client.withdraw(LetGoRequest(checkpoint="llama"))


def test_killed_between_placing_and_activating_it_is_active_after_the_next_start(
    receiver: Node,
) -> None:
    receiver.stop()
    receiver.module = "tests.support.killed_daemon"
    receiver.environment = {**os.environ, "KILLED": "intend"}
    receiver.start()
    receiver.wait_ready()
    receiver.begin(activate=True)
    assert receiver.wait_ended(60) == -signal.SIGKILL
    assert receiver.path(NAME, "100", "weights.bin").exists(), "it is placed"
    receiver.module, receiver.environment = "ckptd.cli.daemon", None
    receiver.start()
    receiver.wait_ready()
    link = receiver.path(NAME, "current")
    eventually(lambda: active_links(receiver) == {100: str(link)}, "it is active")
    eventually(lambda: not receiver.client.recoveries()[0].waiting_for, "the recovery has ended")
    assert link.readlink() == Path("100")
    assert sorted(os.listdir(link.parent)) == ["100", "current"]
