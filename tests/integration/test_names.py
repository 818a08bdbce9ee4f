"""Names with several addresses, silent ones among them; twins; peers that start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import pytest

from ckptd.core.events import Event
from ckptd.daemon.recover.peering import Peering
from ckptd.model.ids import NodeId
from ckptd.model.words import PeerState, Result
from ckptd.net.connection.resolving import Resolver
from ckptd.net.inquiry import Inquirer
from tests.support.cluster import Cluster, Node, eventually, with_and_without_tls
from tests.support.ports import free_ports
from tests.support.serving import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a hosts file of its own needs root")

Address = tuple[str, int]

CTL = (sys.executable, "-m", "ckptd.cli.ctl.command")


@contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """Let an address drop what comes, as behind a broken tunnel: a backlog that is full."""
    opened = [socket.create_server((host, port), backlog=0)]
    try:
        for _ in range(2):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((host, port))
            opened.append(connection)
        yield
    finally:
        for each in opened:
            each.close()


def with_hosts(node: Node, directory: Path, **hosts: Sequence[str]) -> None:
    """Let a node find these names in its hosts file."""
    lines = [f"{address} {name}\n" for name, known in hosts.items() for address in known]
    path = directory / f"hosts-{node.node}"
    path.write_text("127.0.0.1 localhost\n" + "".join(lines))
    mount = f'mount --bind {path} /etc/hosts && exec "$@"'
    node.prefix = ("unshare", "-m", "sh", "-c", mount, "sh")


@needs_root
@with_and_without_tls
def test_a_silent_address_of_a_name_keeps_nothing_from_the_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.prepare("r", peers=[f"svc:{source.data_port}"])
    with_hosts(receiver, tmp_path, svc=["127.0.0.77", "127.0.0.1"])
    with deaf("127.0.0.77", source.data_port):
        receiver.start()
        receiver.wait_ready()
        eventually(lambda: [row.node for row in receiver.client.peers()] == ["a"], "it is found")
        assert receiver.recover().result is Result.COMPLETE, "within the time of any recovery"
        eventually(lambda: receiver.client.peers()[0].silent, "the silent address is known")
        (row,) = receiver.client.peers()
        doctor = [*CTL, "--socket", receiver.client.socket_path, "doctor"]
        shown = subprocess.run(doctor, capture_output=True, text=True, check=False).stdout
    assert (row.address, row.last_error) == (f"svc:{source.data_port}", "")
    assert row.silent.startswith(f"no answer at 127.0.0.77:{source.data_port} (no connection")
    assert receiver.client.status().peers == 1
    (finding,) = [line for line in shown.splitlines() if " peer: " in line]
    assert not finding.startswith("FAIL")
    assert "no answer at 127.0.0.77" in finding


@needs_root
@with_and_without_tls
def test_all_nodes_of_one_name_find_each_other_and_themselves(
    cluster: Cluster, tmp_path: Path
) -> None:
    """As behind a headless service: each has the same list, with itself in it."""
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    [port] = free_ports(1)
    nodes = [cluster.prepare(name, peers=[f"svc:{port}"]) for name in ("a", "b", "c")]
    for node, host in zip(nodes, hosts, strict=True):
        node.host, node.data_port = host, port
        with_hosts(node, tmp_path, svc=hosts)
        node.start()
    for node in nodes:
        node.wait_ready()
        others = {each.node for each in nodes} - {node.node}

        def is_all_found(node: Node = node, others: set[str] = others) -> bool:
            rows = node.client.peers()
            live = {row.node for row in rows if row.state is PeerState.LIVE}
            return live == others and len(rows) == 3

        eventually(is_all_found, f"{node.node} finds {others}")
    (own,) = [row for row in nodes[0].client.peers() if row.state is PeerState.SELF]
    assert own.address == f"svc:{port} (127.0.0.1)"
    status = nodes[0].client.status()
    assert (status.peers, status.peers_reachable) == (2, 2)
    assert "handshake failed" not in nodes[0].log_text()


def patient(cluster: Cluster, *peers: str) -> Node:
    """Return a node that is ready, and asks who does not answer only after minutes again."""
    node = cluster.prepare("r", peers=peers)
    node.module = "tests.support.patient_daemon"
    node.start()
    node.wait_ready()
    return node


@with_and_without_tls
def test_a_twin_takes_over_at_once_when_the_owner_of_its_id_dies(
    cluster: Cluster, tmp_path: Path
) -> None:
    owner = cluster.node("a")
    with Cluster(tmp_path / "others") as others:
        twin = others.prepare("a")
        twin._tls = owner._tls
        twin.start()
        twin.wait_ready()
        receiver = patient(cluster, owner.address, twin.address)

        def states() -> set[PeerState]:
            return {row.state for row in receiver.client.peers()}

        eventually(lambda: states() == {PeerState.LIVE, PeerState.CONFLICT}, "one has the id")
        (live,) = [row for row in receiver.client.peers() if row.state is PeerState.LIVE]
        (first, second) = (owner, twin) if live.address == owner.address else (twin, owner)
        first.kill()

        def is_taken_over() -> bool:
            live = [row for row in receiver.client.peers() if row.state is PeerState.LIVE]
            return [row.address for row in live] == [second.address]

        # By itself it asks an address in conflict every half an hour.
        eventually(is_taken_over, "the other one is believed")


def test_of_many_dead_peers_one_that_starts_is_found_at_once(cluster: Cluster) -> None:
    """The dead are asked seldom; who starts asks its peers, and is asked back."""
    source = cluster.node("a")
    source.stop()
    dead = [f"127.{1 + number // 250}.{number % 250}.7:1" for number in range(900)]
    receiver = patient(cluster, *dead[:450], source.address, *dead[450:])

    eventually(lambda: all(row.last_error for row in receiver.client.peers()), "all were asked")
    time.sleep(5)  # by now nobody is asked again for minutes
    source._settings["peers"] = [receiver.address]
    source.start()
    source.wait_ready()

    def is_found() -> bool:
        return any(row.node == "a" for row in receiver.client.peers())

    eventually(is_found, "it is asked back")


@asynccontextmanager
async def following(*entries: str, names: Resolver) -> AsyncIterator[Peering]:
    """Follow entries in this process."""

    def take(_: Event) -> None:
        """There is no scheduler."""

    async with Inquirer() as inquirer:
        peering = Peering(NodeId("r"), entries, inquirer, take, Random(1), names)
        running = asyncio.create_task(peering.run())
        try:
            yield peering
        finally:
            running.cancel()
            await asyncio.wait([running])


def live(peering: Peering) -> set[str]:
    return {peer.name for peer in peering.peers() if peer.state is PeerState.LIVE}


async def until_live(peering: Peering, name: str) -> None:
    await until(lambda: name in live(peering))


async def test_silent_names_cost_themselves_alone(cluster: Cluster) -> None:
    source = cluster.node("a")
    speaks = threading.Event()
    answered: list[str] = []

    def look_up(host: str, port: int) -> tuple[Address, ...]:
        if host.startswith("silent"):
            speaks.wait(300)
            answered.append(host)
        return (("127.0.0.1", port),)

    silent = [f"silent-{number}:1" for number in range(40)]
    named = f"svc:{source.data_port}"
    try:
        async with following(*silent, named, names=Resolver(look_up)) as peering:
            await until_live(peering, named)
            assert not answered, "it waited for none of them"
            first = peering.peers()[0]
            assert (first.state, first.last_error) == (
                PeerState.UNKNOWN,
                "its name is being looked up",
            )
    finally:
        speaks.set()


async def test_a_name_that_changes_is_followed_and_a_late_answer_changes_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.core.peers.pauses._LOOK_UP_PAUSE_NS", 200_000_000)
    monkeypatch.setattr("ckptd.core.peers.pauses._MISSING_PAUSE_NS", 100_000_000)
    before, after = cluster.prepare("a"), cluster.prepare("b")
    [port] = free_ports(1)
    for node, host in ((before, "127.0.0.1"), (after, "127.0.0.2")):
        node.host, node.data_port = host, port
        node.start()
    for node in (before, after):
        node.wait_ready()
    speaks, where = threading.Event(), ["127.0.0.1"]
    speaks.set()
    begun = 0

    def look_up(_: str, port: int) -> tuple[Address, ...]:
        nonlocal begun
        begun += 1
        speaks.wait(60)
        return ((where[0], port),)

    async with following(f"svc:{port}", names=Resolver(look_up)) as peering:
        await until(lambda: set(peering.said()) == {"a"})
        speaks.clear()
        before_count = begun
        await until(lambda: begun > before_count)  # and has no answer
        assert set(peering.said()) == {"a"}, "what it had last counts"
        where[0] = "127.0.0.2"
        speaks.set()
        await until(lambda: set(peering.said()) == {"b"})
