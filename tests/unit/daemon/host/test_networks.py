"""Which addresses this machine has, and over which interface others are reached."""

from __future__ import annotations

from ckptd.daemon.host.networks import (
    OwnAddress,
    Routes,
    ipv6_addresses_in,
    ipv6_routes_in,
    own_addresses,
    routes_in,
)

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ROUTES = f"""{HEAD}eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth2\t0001000A\t00000000\t0001\t0\t0\t50\t00FFFFFF\t0\t0\t0
eth3\t0002000A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0003000A\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0
this is no route
"""
IPV6 = """\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth1
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo
neither is this
"""


def interface_to(routes: Routes, host: str) -> tuple[str, bool] | None:
    route = routes.to(host)
    return None if route is None else (route.interface, route.is_direct)


def test_the_route_is_the_most_exact_one_with_the_lowest_metric() -> None:
    routes = Routes([*routes_in(ROUTES), *ipv6_routes_in(IPV6)])
    assert interface_to(routes, "10.0.0.7") == ("eth0", True)
    assert interface_to(routes, "10.0.1.7") == ("eth1", True)
    assert interface_to(routes, "10.0.2.7") == ("eth0", False), "that interface is down"
    assert interface_to(routes, "10.0.3.7") == ("eth0", False)
    assert interface_to(routes, "fd00::7") == ("eth1", True)
    assert interface_to(routes, "2001:db8::7") == ("eth0", False)
    assert routes.directly_reached() == {"eth0", "eth1", "eth2"}


def test_to_this_machine_and_to_a_name_there_is_no_route() -> None:
    routes = Routes(routes_in(ROUTES))
    assert [routes.to(host) for host in ("127.0.0.1", "::1", "node-b", "fd00::7")] == [None] * 4


def test_of_ipv6_addresses_those_count_that_others_can_reach() -> None:
    table = """\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000000000fffe000001 02 40 20 80     eth0
fd000000000000000000000000000002 03 40 00 80     eth1
"""
    assert list(ipv6_addresses_in(table)) == [OwnAddress("fd00::2", "eth1")]


async def test_the_tables_of_this_machine_are_read() -> None:
    assert (await Routes.read()).to("127.0.0.1") is None


def test_this_machine_has_addresses_of_its_own_and_none_is_of_loopback() -> None:
    assert not [each for each in own_addresses() if each.host.startswith("127.")]
    assert all(each.interface for each in own_addresses())
