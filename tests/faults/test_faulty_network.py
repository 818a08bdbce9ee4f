"""Recoveries over bad links: every one ends complete and bit-exact, and little is fetched twice.

Each source is behind a proxy of its own. Faults begin once the receiver knows all holders.
"""

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.limits import BLOCK_BYTES_MIN, KIB, MIB
from ckptd.model.words import SourceState, WasteReason
from ckptd.net.lane.groups import GROUP_BYTES_MAX, GROUP_BYTES_MIN
from tests.support.cluster import FileFacts, Node, eventually, make_checkpoint, tree_digest
from tests.support.faulty_network import RATE, Connect, check_whole, shares
from tests.support.link_faults import Faults, Mishap

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]


def test_a_flipped_bit_costs_its_block_and_no_trust(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    for link in network.links:
        link.replies.rate_bytes_per_s = RATE
    network.links[0].after(MIB, Mishap.FLIP)
    result = network.recover_through_mishap()
    check_whole(result, published)
    assert network.links[0].plan.mishap_count == 1
    assert result.wasted[WasteReason.CORRUPT.value] == BLOCK_BYTES_MIN
    assert "source.bad_block source=a" in network.receiver.log_text()
    assert network.distrusted == 0


@pytest.mark.parametrize("mishap", [Mishap.RESET, Mishap.TRUNCATION])
def test_a_cut_connection_costs_what_was_not_verified_yet(
    mishap: Mishap, connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    for link in network.links:
        link.replies.rate_bytes_per_s = RATE
    network.links[0].after(MIB + 5000, mishap)
    result = network.recover_through_mishap()
    check_whole(result, published)
    assert network.links[0].plan.mishap_count == 1
    assert result.bytes_wasted < GROUP_BYTES_MIN
    assert set(shares(result)) == {"a", "b"}
    assert network.distrusted == 0


def test_a_source_that_falls_silent_in_a_body_is_left_to_the_others(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(4)
    for link in network.links:
        link.replies.rate_bytes_per_s = RATE
    network.links[0].after(MIB + 5000, Mishap.SILENCE)
    result = network.recover_through_mishap()
    check_whole(result, published)
    silent = network.links[0]
    assert (silent.plan.mishap_count, silent.plan.body_bytes) == (1, MIB + 5000)
    assert result.bytes_wasted < GROUP_BYTES_MIN
    given = shares(result)
    assert given.pop("a", 0) <= MIB + 5000
    assert given
    assert network.distrusted == 0


def test_a_silent_source_that_comes_back_is_used_again(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    receiver, (silent, slow) = network.receiver, network.links
    slow.replies.rate_bytes_per_s = 3 * MIB
    silent.after(MIB + 5000, Mishap.SILENCE)
    recovery = receiver.begin()

    def is_left(view: RecoveryView) -> bool:
        return any(row.state is SourceState.BACKING_OFF for row in view.sources)

    receiver.wait_view(recovery, is_left, "the silent source is left")
    slow.replies.rate_bytes_per_s = 256 * KIB  # so that it is not over before
    given = silent.plan.body_bytes
    silent.resume()
    # Of what it was asked before it fell silent, a part of one range may come late.
    receiver.wait_view(
        recovery, lambda _: silent.plan.body_bytes > given + 5 * MIB, "it is used again"
    )
    slow.heal()
    check_whole(receiver.result(recovery), published)
    assert network.distrusted == 0


def test_a_source_that_only_trickles_does_not_hold_up_the_end(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    trickling, healthy = network.links
    trickling.replies.rate_bytes_per_s = healthy.replies.rate_bytes_per_s = RATE
    recovery = network.receiver.begin()
    eventually(lambda: trickling.ranges, "it is asked for bytes")
    trickling.replies.rate_bytes_per_s = KIB
    result = network.receiver.result(recovery)
    check_whole(result, published)
    assert result.bytes_wasted < GROUP_BYTES_MIN
    assert network.distrusted == 0


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_link_that_dies_in_one_direction_is_a_silent_one(
    way: str, connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(2)
    receiver, (stalled, healthy) = network.receiver, network.links
    for link in network.links:
        link.replies.rate_bytes_per_s = 8 * MIB
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    asked = len(stalled.ranges)
    (stalled.requests if way == "requests" else stalled.replies).silence()
    healthy.heal()
    result = receiver.result(recovery)
    check_whole(result, published)
    assert shares(result)["b"] > shares(result).get("a", 0)
    if way == "requests":
        assert len(stalled.ranges) == asked
    assert network.distrusted == 0


def test_a_cold_start_far_away_gives_nothing_up(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(4)
    for link in network.links:
        link.replies.latency_s, link.replies.jitter_s = 0.15, 0.03
    before = [link.connection_count for link in network.links]
    result = network.receiver.recover()
    check_whole(result, published)
    assert result.bytes_wasted == 0
    assert set(shares(result)) == {"a", "b", "c", "d"}
    # A lane each, one connection for the manifest, and one each for the attributes.
    opened = [link.connection_count for link in network.links]
    assert sum(opened) - sum(before) <= 9


def test_a_flapping_link_makes_progress_with_few_dials(
    connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(1)
    (link,) = network.links
    link.apply(Faults(flap_s=(0.6, 0.8), rate_bytes_per_s=16 * MIB))
    result = network.receiver.recover()
    check_whole(result, published)
    assert link.connection_count <= 15
    assert result.bytes_wasted < GROUP_BYTES_MIN * link.connection_count
    assert network.distrusted == 0


def test_heads_and_bodies_in_tiny_pieces_are_understood(
    sources: list[Node], connect: Connect
) -> None:
    files = [PlannedFile("one", 300 * KIB + 1), PlannedFile("two", 5), PlannedFile("none", 0)]
    directory = make_checkpoint(sources[0].path("tiny"), files=files)
    sources[0].publish(directory, "tiny", critical=(), deferred=("one",))
    network = connect(1)
    (link,) = network.links
    link.requests.slice_bytes = link.replies.slice_bytes = 7
    result = network.receiver.recover("tiny")
    check_whole(result, dict(tree_digest(directory)))
    assert result.bytes_wasted == 0


# Those of the first sixty that bring most mishaps.
@pytest.mark.parametrize("seed", [10, 33, 39])
def test_whatever_is_wrong_with_the_links_it_ends_well(
    seed: int, connect: Connect, published: dict[str, FileFacts]
) -> None:
    network = connect(4)
    for number, link in enumerate(network.links):
        link.apply(Faults.draw(4 * seed + number, 6 * MIB))
    result = network.receiver.recover()
    check_whole(result, published)
    mishaps = sum(link.plan.mishap_count for link in network.links)
    connections = sum(link.connection_count for link in network.links)
    assert mishaps > 0
    assert result.bytes_wasted <= GROUP_BYTES_MAX * (mishaps + connections)
    assert network.distrusted == 0
