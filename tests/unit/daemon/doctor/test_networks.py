"""A faster network to a peer that stands unused is named."""

from __future__ import annotations

import ipaddress

import pytest

from ckptd.core.peers.addresses import PeerAddress
from ckptd.daemon.doctor.networks import Networks, judge_networks
from ckptd.daemon.host.networks import Route, Routes
from ckptd.model.holdings import Holdings
from ckptd.model.ids import Epoch, NodeId, Origin
from ckptd.model.words import CheckResult, PeerState
from ckptd.wire.shown_addresses import ShownAddress

B = NodeId("b")
GBIT = 125_000_000
SLOW, FAST = GBIT, 100 * GBIT
SPEEDS = {"eth0": SLOW, "eth1": FAST}


def networks(**speeds: int | None) -> Networks:
    routes = [
        Route(ipaddress.ip_network("0.0.0.0/0"), "eth0", is_direct=False),
        Route(ipaddress.ip_network("192.0.2.0/24"), "eth1", is_direct=False),
        *(
            Route(ipaddress.ip_network(f"10.0.{number}.0/24"), f"eth{number}", is_direct=True)
            for number in (0, 1)
        ),
    ]
    known = {**SPEEDS, **speeds}
    return Networks(Routes(routes), known.get, lambda name: name == "eth1")


def peer(host: str, node: NodeId = B) -> PeerAddress:
    holdings = Holdings(node, Epoch(1), 1, ())
    name = f"{host}:7421"
    return PeerAddress(name, (host, 7421), Origin(name), state=PeerState.LIVE, holdings=holdings)


def shown(host: str, bytes_per_s: int | None = FAST) -> ShownAddress:
    return ShownAddress(host, 7421, bytes_per_s)


def findings(*rows: object, **speeds: int | None) -> list[str]:
    peers = [each for each in rows if isinstance(each, PeerAddress)]
    said = [each for each in rows if isinstance(each, ShownAddress)]
    found = judge_networks(peers, {B: said}, networks(**speeds))
    return [row.subject for row in found if row.verdict is CheckResult.WARN]


def test_a_peer_on_the_slow_network_that_answers_on_the_fast_one_too_is_named() -> None:
    slow, fast = shown("10.0.0.2", SLOW), shown("10.0.1.2")
    row, *_ = judge_networks([peer("10.0.0.2")], {B: [slow, fast]}, networks())
    assert (row.check, row.subject, row.verdict) == ("networks", "b", CheckResult.WARN)
    assert row.finding == (
        "is reached at 10.0.0.2:7421 over eth0 (119 MiB/s), and says that it answers at "
        "10.0.1.2:7421 as well, which eth1 reaches (11.6 GiB/s)"
    )
    assert row.remedy == 'If that is so, add "b@10.0.1.2:7421" to discovery.peers.'


@pytest.mark.parametrize(
    "rows",
    [
        (peer("10.0.0.2"), peer("10.0.1.2"), shown("10.0.1.2")),  # it is used
        (peer("10.0.0.2"), shown("10.0.0.9")),  # as slow
        (peer("10.0.0.2"), shown("192.0.2.2")),  # behind a router: nobody knows how fast
        (peer("10.0.0.2"), shown("10.0.1.2", SLOW)),  # slow at its end
        (peer("10.0.0.2"), shown("10.0.1.2", None)),  # not known at its end
        (peer("name"), shown("10.0.1.2")),  # not known how it is reached
        (peer("127.0.0.1"), shown("10.0.1.2")),
        (peer("10.0.0.2", NodeId("c")), shown("10.0.1.2")),  # of another one
    ],
)
def test_where_nothing_is_known_to_be_faster_no_peer_is_named(rows: tuple[object, ...]) -> None:
    assert "b" not in findings(*rows)


def test_without_the_speed_of_what_is_used_nothing_is_known_to_be_faster() -> None:
    assert findings(peer("10.0.0.2"), shown("10.0.1.2"), eth0=None) == []


def test_a_fast_interface_that_leads_to_no_peer_is_named_whatever_peers_say() -> None:
    assert findings(peer("10.0.0.2")) == ["interface eth1"]
    assert findings(peer("10.0.0.2"), peer("10.0.1.2")) == []
    assert findings(peer("10.0.0.2"), eth1=SLOW) == []
    assert findings(peer("10.0.0.2"), eth1=None) == []
    assert findings() == []


def test_where_all_is_well_that_is_said() -> None:
    (row,) = judge_networks([peer("10.0.1.2")], {}, networks())
    assert (row.verdict, row.finding) == (CheckResult.OK, "no faster one is known to stand unused")
