"""The addresses at which a node says that it answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ckptd.limits import SHOWN_ADDRESSES_MAX
from ckptd.wire.shown_addresses import ShownAddress, format_addresses, parse_addresses

FAST = ShownAddress("10.0.1.2", 7421, 12_500_000_000)
PLAIN = ShownAddress("fd00::2", 7421)


def test_what_is_formatted_is_read_again() -> None:
    field = "10.0.1.2:7421;rate=12500000000, [fd00::2]:7421"
    assert format_addresses([FAST, PLAIN]) == field
    assert parse_addresses(field) == (FAST, PLAIN)
    assert parse_addresses(None) == parse_addresses("") == ()


def test_what_makes_no_sense_is_left_out() -> None:
    nonsense = "node-b:7421, 10.0.0.999:1, 10.0.0.1:0, 10.0.0.1:65536, 1.2.3.4, [::1:5, 1.2.3.4:5;x"
    assert parse_addresses(f"{nonsense}, [fd00::0:2]:7421,10.0.1.2:7421;rate=0") == (
        PLAIN,
        ShownAddress("10.0.1.2", 7421),
    )


def test_an_address_is_named_once_and_no_more_of_them_than_a_machine_has() -> None:
    many = [ShownAddress(f"10.0.{number // 250}.{number % 250}", 1) for number in range(99)]
    assert parse_addresses(format_addresses([FAST, FAST, *many]))[:2] == (FAST, many[0])
    assert len(parse_addresses(", ".join(map(str, many)))) == SHOWN_ADDRESSES_MAX
    assert parse_addresses(" ," * 100_000 + str(FAST)) == ()


@given(st.text())
def test_any_text_is_some_addresses(text: str) -> None:
    for each in parse_addresses(text):
        assert parse_addresses(format_addresses([each])) == (each,)
