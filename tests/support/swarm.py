"""Nodes that follow each other, and what they say over the peer protocol."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.wire.holdings_document import decode_holdings
from tests.support.cluster import WAIT_S, Cluster, Node
from tests.support.ports import free_ports


def start_swarm(cluster: Cluster, names: Sequence[str], *, sources: Sequence[str]) -> list[Node]:
    """Start nodes each of which follows some sources and all the others."""
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    nodes = []
    for name in names:
        directory = cluster.directory / name
        (directory / "root").mkdir(parents=True)
        others = [f"127.0.0.1:{port}" for other, port in ports.items() if other != name]
        node = Node(
            str(directory),
            node=name,
            root=str(directory / "root"),
            peers=[*sources, *others],
            metrics="127.0.0.1:0",
            authority=cluster.authority,
        )
        node.data_port = ports[name]
        cluster.nodes.append(node)
        node.start()
        nodes.append(node)
    for node in nodes:
        node.wait_ready()
    return nodes


class Answer(NamedTuple):
    status: int
    fields: Mapping[str, str]
    body: bytes


def ask(address: str, target: str, method: str = "GET", **fields: str) -> Answer:
    """Ask as a stranger would; ``if_range="x"`` becomes the field ``If-Range: x``."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    with closing(http.client.HTTPConnection(address, timeout=WAIT_S)) as connection:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())


def holdings_of(node: Node) -> Holdings:
    """Return everything a node says it holds."""
    found = decode_holdings(ask(node.address, "/v1/holdings").body)
    assert isinstance(found, Holdings)
    return found


def holding_of(node: Node, checkpoint: str) -> Holding | None:
    """Return what a node says it holds of a checkpoint, of which it has one version."""
    listed = holdings_of(node).holdings
    return next((each for each in listed if each.checkpoint == checkpoint), None)


def blocks_of(node: Node, checkpoint: str) -> BlockSet:
    """Return the blocks that a node advertises."""
    holding = holding_of(node, checkpoint)
    return holding.blocks if holding else BlockSet()
