"""Where this node says that it answers."""

from __future__ import annotations

import pytest

from ckptd.config import Address, Advertised
from ckptd.daemon.host.networks import OwnAddress
from ckptd.daemon.serve.own_addresses import OwnAddresses

OWN = [
    OwnAddress("10.0.0.2", "eth0"),
    OwnAddress("10.0.1.2", "eth1"),
    OwnAddress("fd00::2", "eth1"),
]
SPEEDS = {"eth1": 1000}


async def field(data: str, advertised: Advertised = "interfaces") -> str:
    own = OwnAddresses(advertised, Address(data, 7421), find=lambda: OWN, speed=SPEEDS.get)
    return await own.field()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0.0.0.0", "10.0.0.2:7421, 10.0.1.2:7421;rate=1000"),
        ("::", "10.0.0.2:7421, 10.0.1.2:7421;rate=1000, [fd00::2]:7421;rate=1000"),
        ("10.0.1.2", "10.0.1.2:7421;rate=1000"),
        ("127.0.0.1", ""),
    ],
)
async def test_it_answers_where_it_listens(data: str, expected: str) -> None:
    assert await field(data) == expected


async def test_what_is_configured_is_said_and_nothing_else() -> None:
    elsewhere = (Address("192.0.2.9", 17421), Address("10.0.1.2", 7421))
    assert await field("0.0.0.0", elsewhere) == "192.0.2.9:17421, 10.0.1.2:7421;rate=1000"
    assert await field("0.0.0.0", ()) == ""


async def test_it_is_not_looked_up_for_every_question() -> None:
    looked = []

    def find() -> list[OwnAddress]:
        looked.append(1)
        return OWN

    own = OwnAddresses("interfaces", Address("10.0.0.2", 7421), find=find, speed=SPEEDS.get)
    assert await own.field() == await own.field() == "10.0.0.2:7421"
    assert len(looked) == 1
