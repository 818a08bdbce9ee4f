from __future__ import annotations

import pytest

from ckptd.wire.hosts import are_ours, is_from_page

NAMES = {"ckptd", "localhost"}


@pytest.mark.parametrize("host", ["ckptd", "CKPTD", "localhost:80", "localhost"])
def test_our_names_are_ours_with_and_without_a_port(host: str) -> None:
    assert are_ours([host], NAMES, is_tcp=False)
    assert are_ours([host, host], NAMES, is_tcp=True)


@pytest.mark.parametrize("host", ["10.0.0.1", "10.0.0.1:7422", "[::1]", "[::1]:7422"])
def test_an_address_is_ours_on_tcp_only(host: str) -> None:
    assert are_ours([host], NAMES, is_tcp=True)
    assert not are_ours([host], NAMES, is_tcp=False)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "ckptd.evil.example", "", ":80", "[ckptd]", "ckptd:x", "::1", "ckptd@e"],
)
def test_other_names_are_not(host: str) -> None:
    assert not are_ours([host], NAMES, is_tcp=True)
    assert not are_ours(["ckptd", host], NAMES, is_tcp=True)


def test_who_sends_no_host_is_no_browser() -> None:
    assert are_ours([], NAMES, is_tcp=False)


@pytest.mark.parametrize(
    ("fields", "is_page"), [({"Host"}, False), ({"Origin"}, True), ({"Referer"}, True)]
)
def test_a_browser_says_which_page_asks(fields: set[str], is_page: bool) -> None:
    assert is_from_page(fields) is is_page
