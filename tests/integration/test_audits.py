"""Copies between real daemons: counted when they were shown, missed when they are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import KIB
from ckptd.model.words import Confirmation
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.metrics_page import samples
from tests.support.peers import liar

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 300 * KIB)]
COPIES = """
[copies]
names = ["llama*"]
root = "copies"
quota = "1KiB"  # so that no copy is made: what is lost stays missing
critical = 2
normal = 2
"""
WHOLE = {"critical": 0, "normal": 0, "deferred": 0}
SHORT = {"critical": 1, "normal": 1, "deferred": 0}


def listing(cluster: Cluster, name: str, *peers: str) -> Node:
    """Return a node that lists the name, and has no room for copies."""
    node = cluster.prepare(name, peers=peers, sections=COPIES)
    node.roots["copies"] = str(Path(node.root).parent / "copies")
    Path(node.roots["copies"]).mkdir()
    node.start()
    node.wait_ready()
    return node


def under_replicated(node: Node) -> dict[str, float]:
    return samples(node, "units_under_replicated")


@pytest.mark.parametrize("cluster", ["tls"], indirect=True)
def test_files_of_a_holder_that_are_removed_while_it_lives_are_missed_within_seconds(
    cluster: Cluster,
) -> None:
    source = cluster.node("a")
    make_checkpoint(source.path("100"), files=FILES)
    source.publish(source.path("100"), deferred=())
    holder = cluster.node("b", peers=[source.address])
    onlooker = listing(cluster, "c", source.address, holder.address)
    eventually(lambda: under_replicated(onlooker) == SHORT, "there is one copy")
    holder.recover(to=holder.path("100"))
    eventually(lambda: under_replicated(onlooker) == WHOLE, "the other one showed a block")
    shutil.rmtree(holder.path("100"))
    eventually(lambda: under_replicated(onlooker) == SHORT, "one copy is missed")
    assert holder.is_running
    assert not onlooker.events("audit.failed")


def test_copies_that_liars_claim_count_nowhere(cluster: Cluster) -> None:
    source = cluster.node("a")
    make_checkpoint(source.path("100"), files=FILES)
    source.publish(source.path("100"), deferred=())
    with (
        liar("wrong", source.data_port) as wrong,
        liar("empty", source.data_port, serves=False) as empty,
    ):
        onlooker = listing(cluster, "c", source.address, wrong.address, empty.address)
        eventually(lambda: len(onlooker.events("audit.failed")) == 2, "neither showed a block")
        eventually(lambda: under_replicated(onlooker) == SHORT, "one copy counts")
        failed = {each.facts["node"]: each.facts["why"] for each in onlooker.events("audit.failed")}
        assert failed == {"wrong": "wrong", "empty": "not_held"}
        claims = {"proven": 1, "unproven": 0, "false": 2}
        eventually(lambda: samples(onlooker, "audited_claims") == claims, "all were audited")
        [evidence] = onlooker.client.peer("wrong").evidence
        assert (evidence.recovery, evidence.answer) == ("audit", Confirmation.HELD)
        assert onlooker.client.peer("empty").evidence == ()
        [row] = onlooker.client.checkpoints()
        assert list(row.proven_at_s) == ["a"]
    assert wrong.lies == 1
