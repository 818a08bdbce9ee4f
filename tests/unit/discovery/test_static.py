from __future__ import annotations

from ckptd.discovery.static import Discovery, StaticDiscovery


def test_the_list_is_returned_in_its_order() -> None:
    discovery: Discovery = StaticDiscovery(("b:1", "a:1"))
    assert discovery.addresses() == ("b:1", "a:1")
