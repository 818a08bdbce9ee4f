"""Sources that stop, starve, vanish or have lost what they hold: a recovery gets by, or waits."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.limits import KIB, MIB
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.words import SourceState
from ckptd.net.lane.groups import GROUP_BYTES_MIN
from tests.support.cluster import NAME, Cluster, FileFacts, Node, eventually, make_checkpoint
from tests.support.fault_proxy import fault_proxy
from tests.support.faulty_network import RATE, Connect, Network, check_whole, shares
from tests.support.hostile_peers import Reply, claims, hostile_peer
from tests.support.link_faults import Mishap
from tests.support.swarm import ask

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]


def test_a_network_that_is_gone_and_heals_costs_nothing_that_was_verified(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    receiver = network.receiver
    for link in network.links:
        link.replies.rate_bytes_per_s = 8 * MIB
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 6 * MIB)
    for link in network.links:
        link.silence()
    left: set[str] = set()

    def were_left(view: RecoveryView) -> bool:
        left.update(row.node for row in view.sources if row.state is SourceState.BACKING_OFF)
        return left == {"a", "b"}

    receiver.wait_view(recovery, were_left, "both were left")
    for link in network.links:
        link.heal()
    result = receiver.result(recovery)
    check_whole(result, published)
    opened = sum(link.connection_count for link in network.links)
    assert result.bytes_wasted < GROUP_BYTES_MIN * opened
    assert network.distrusted == 0


def test_a_source_that_is_stopped_is_left_and_used_again_when_it_goes_on(
    connect: Connect, sources: list[Node], published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    receiver, (stopped, slow) = network.receiver, network.links
    stopped.replies.rate_bytes_per_s = slow.replies.rate_bytes_per_s = 3 * MIB
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    with stopping(sources[0]):
        receiver.wait_view(recovery, a_rests, "the stopped source is left")
        slow.replies.rate_bytes_per_s = 256 * KIB  # so that it is not over before
        given = stopped.plan.body_bytes
    # Of what it was asked before it stood still, a part of two ranges may come late.
    receiver.wait_view(
        recovery, lambda _: stopped.plan.body_bytes > given + 3 * MIB, "it is used again"
    )
    for link in network.links:
        link.heal()
    check_whole(receiver.result(recovery), published)
    assert network.distrusted == 0


def a_rests(view: RecoveryView) -> bool:
    return any(row.node == "a" and row.state is SourceState.BACKING_OFF for row in view.sources)


@contextlib.contextmanager
def stopping(node: Node) -> Iterator[None]:
    """Let a daemon stand still; it must go on for the other tests."""
    node.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("who", ["receiver", "sources"])
def test_who_gets_a_tenth_of_a_processor_blames_nobody_and_is_not_blamed(
    who: str, connect: Connect, sources: list[Node], published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    for link in network.links:
        link.replies.rate_bytes_per_s = RATE
    with starving([network.receiver] if who == "receiver" else sources[:2]):
        result = network.receiver.recover()
    check_whole(result, published)
    assert network.distrusted == 0
    assert "source.bad_block" not in network.receiver.log_text()


@contextlib.contextmanager
def starving(nodes: list[Node]) -> Iterator[None]:
    """Let daemons run 10 ms of every 100."""
    is_over = threading.Event()

    def starve() -> None:
        while not is_over.wait(0.01):
            for node in nodes:
                node.send_signal(signal.SIGSTOP)
            is_over.wait(0.09)
            for node in nodes:
                node.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=starve, name="starving")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_source_that_lost_a_version_is_asked_once_for_a_unit_and_believed(
    cluster: Cluster, sources: list[Node], published: dict[str, FileFacts]
) -> None:
    digest = next(row.digest for row in sources[0].client.checkpoints() if row.checkpoint == NAME)
    path = f"/v1/manifests/{digest}"
    manifest = ask(sources[0].address, path).body
    replies = {
        "/v1/holdings": claims("forgetful", decode_manifest(manifest), digest),
        path: Reply(manifest),
    }
    with (
        hostile_peer(replies) as forgetful,
        fault_proxy(sources[0].data_port, rate_bytes_per_s=RATE) as link,
    ):
        network = Network(cluster, [link], [forgetful.address])
        result = network.receiver.recover()
        # A denial counts for the units of the range that was asked for, and for good.
        assert 1 <= forgetful.requests.count(f"/v1/checkpoints/{digest}") <= len(published)
    check_whole(result, published)
    assert set(shares(result)) == {"a"}
    assert result.bytes_wasted == 0
    assert network.distrusted == 0


def test_a_critical_unit_whose_only_holder_died_is_named_and_comes_when_it_returns(
    cluster: Cluster, published: dict[str, FileFacts]
) -> None:
    source = cluster.node("only")
    source.publish(make_checkpoint(source.path("100")), critical=("model-1.*",))
    with fault_proxy(source.data_port) as link:
        receiver = Network(cluster, [link]).receiver
        link.after(MIB, Mishap.SILENCE)
        recovery = receiver.begin()
        eventually(lambda: link.plan.mishap_count == 1, "it fell silent")
        source.kill()
        link.heal()
        receiver.wait_view(
            recovery, lambda view: "model-1.safetensors" in view.missing_units, "it is named"
        )
        source.restart()
        result = receiver.result(recovery)
    check_whole(result, published)


def test_two_live_peers_are_found_among_hundreds_of_dead_ones(
    cluster: Cluster, sources: list[Node], published: dict[str, FileFacts]
) -> None:
    with contextlib.ExitStack() as ports:
        dead = []
        for number in range(220):
            taken = ports.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))  # that alone refuses connections
            if number % 10 == 0:
                taken.listen()  # and nobody answers
            dead.append(f"127.0.0.1:{taken.getsockname()[1]}")
        receiver = cluster.node("r", peers=[*dead, *(source.address for source in sources[:2])])
        check_whole(receiver.recover(), published)


def test_a_client_that_closes_its_half_gets_its_answer_and_leaves_nothing_open(
    sources: list[Node],
) -> None:
    source = sources[3]
    before = len(os.listdir(f"/proc/{source.pid}/fd"))
    host, _, port = source.address.partition(":")
    for request, is_answered in (
        (b"GET /v1/holdings HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET /v1/hold", False),
        (b"", False),
    ):
        for _ in range(10):
            with socket.create_connection((host, int(port)), timeout=30) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: client.recv(64 * 1024), b""))
            assert answer.startswith(b"HTTP/1.1 200 ") is is_answered
    eventually(
        lambda: len(os.listdir(f"/proc/{source.pid}/fd")) <= before, "all connections are closed"
    )
