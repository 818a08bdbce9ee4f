"""Copies between real daemons: they come where they are asked for, are replaced, and go back."""

from __future__ import annotations

from http.client import HTTPConnection

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.copies import CopiesRequest
from ckptd.limits import KIB, MIB
from tests.support.cluster import (
    NAME,
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
)
from tests.support.compressing import half_random
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 300 * KIB)]
SECTIONS = """
[copies]
names = ["llama*"]
root = "copies"
quota = "1GiB"
critical = 2
normal = 2
deferred = 2
keep = 2
grace = "5s"  # who is chosen must begin within it, also on a slow machine
[copies.checkpoints.llama-part]
normal = 1
deferred = 1
[copies.zones]
rack-1 = ["a", "b"]
rack-2 = ["c"]
rack-3 = ["d"]
"""


def fleet(cluster: Cluster, *names: str, sections: str = SECTIONS) -> dict[str, Node]:
    """Prepare nodes that all know each other and keep copies; none of them is started."""
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    nodes: dict[str, Node] = {}
    for name in names:
        peers = [f"127.0.0.1:{port}" for other, port in ports.items() if other != name]
        nodes[name] = cluster.prepare(name, peers=peers, sections=sections)
    for name, node in nodes.items():
        node.data_port = ports[name]
        copies = cluster.directory / name / "copies"
        copies.mkdir()
        node.roots = {"copies": str(copies)}
    return nodes


def start(*nodes: Node) -> None:
    """Start nodes."""
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait_ready()


def copies_at(nodes: dict[str, Node], version: int, state: str = "here") -> set[str]:
    """Return which nodes that run say that they have a copy of a version."""
    return {
        name
        for name, node in nodes.items()
        if node.is_running
        for row in node.client.checkpoints()
        if row.version == version
        for place in row.places
        if place.is_copy and place.state == state
    }


def save(node: Node, version: int, checkpoint: str = NAME) -> None:
    """Let a job save a version and publish it."""
    directory = node.path(checkpoint, f"{version}")
    make_checkpoint(directory, seed=version, files=FILES)
    node.publish(directory, checkpoint, version, critical=("config.json",), deferred=())


def test_copies_come_are_replaced_and_go_back(cluster: Cluster) -> None:
    nodes = fleet(cluster, "a", "b", "c", "d")
    start(*nodes.values())
    save(nodes["a"], 1)
    first = eventually(lambda: copies_at(nodes, 1), "a copy came").pop()
    assert first in {"c", "d"}  # not where the first one is
    nodes[first].kill()
    second = eventually(lambda: copies_at(nodes, 1), "it was replaced").pop()
    start(nodes[first])

    def given_back() -> list[str]:
        assert copies_at(nodes, 1), "one was given back before the other one was whole"
        return [name for name in (first, second) if nodes[name].events("copies.given_back")]

    (giver,) = eventually(given_back, "one of them was given back")
    eventually(lambda: copies_at(nodes, 1) == {first, second} - {giver}, "the other one stays")
    asked = [each.asked_by for each in nodes[second].client.recoveries()]
    assert asked == ["copies"]
    (ended,) = nodes[second].events("recovery.ended")
    assert ended.facts["kept_warm_bytes"] == 0  # memory is for what jobs load


def test_a_copy_serves_the_job_and_stands_in_its_way_in_nothing(cluster: Cluster) -> None:
    nodes = fleet(cluster, "a", "c")
    source, holder = nodes["a"], nodes["c"]
    start(source)
    for version in (1, 2, 3):
        save(source, version)
    save(source, 1, "llama-part")
    start(holder)  # not before: it would copy the first version while that is the newest
    eventually(lambda: "c" in copies_at(nodes, 2) & copies_at(nodes, 3), "both that are kept came")
    eventually(lambda: "c" in copies_at(nodes, 1, "chosen"), "what is critical of the other came")
    assert not copies_at(nodes, 1)
    source.kill()
    old = holder.recover(version=2)
    assert (old.bytes_received, old.bytes_reused) == (0, old.bytes_total)
    new = holder.recover(version=None)
    assert (new.version, new.bytes_received) == (3, 0)
    assert copies_at(nodes, 3) == {"c"}
    for version in (2, 3):
        copy = cluster.directory / "c" / "copies" / NAME / f"{version}"
        assert tree_digest(copy) == tree_digest(holder.path(NAME, f"{version}"))


def test_a_copy_that_is_kept_compressed_is_the_version_to_everybody(cluster: Cluster) -> None:
    sections = SECTIONS.replace("keep = 2", "keep = 2\ncompress = true", 1)
    nodes = fleet(cluster, "a", "c", sections=sections)
    source, holder = nodes["a"], nodes["c"]
    start(source, holder)
    directory, content = source.path(NAME, "1"), half_random(2 * MIB)
    directory.mkdir(parents=True)
    (directory / "config.json").write_bytes(b"{}")
    (directory / "model").write_bytes(content)
    digest = source.publish(directory, NAME, 1, critical=("config.json",), deferred=()).digest
    eventually(lambda: holder.events("copies.compressed"), "it is compressed")
    source.kill()
    copy = cluster.directory / "c" / "copies" / NAME / "1"
    assert (copy / "model.zst").stat().st_size < len(content) // 2
    eventually(lambda: holder.client.copies(CopiesRequest()).saved_bytes > MIB, "it is shown")
    connection = HTTPConnection("127.0.0.1", holder.data_port)
    whole = b"{}" + content
    for first, last in ((0, len(whole) - 1), (MIB - 5, MIB + 5), (len(whole) - 3, len(whole) - 1)):
        connection.request(
            "GET", f"/v1/checkpoints/{digest}", headers={"Range": f"bytes={first}-{last}"}
        )
        answer = connection.getresponse()
        assert answer.status == 206
        assert answer.read() == whole[first : last + 1]
    connection.close()
    done = holder.recover(version=1)
    assert (done.bytes_received, done.bytes_reused) == (0, done.bytes_total)
    assert tree_digest(holder.path(NAME, "1")) == tree_digest(directory)
