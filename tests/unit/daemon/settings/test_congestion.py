from __future__ import annotations

import pytest

from ckptd.config import Config
from ckptd.config.sections import NodeSection, TransportSection
from ckptd.daemon.settings.congestion import check_congestion
from ckptd.errors import ConfigurationError
from ckptd.model.ids import NodeId
from tests.support.somebody import somebody


def config(control: str) -> Config:
    node = NodeSection(id=NodeId("a"), state_dir="/none")
    return Config(node=node, roots={}, transport=TransportSection(congestion_control=control))


def test_what_this_user_cannot_have_is_refused_with_what_it_can() -> None:
    with somebody(), pytest.raises(ConfigurationError, match=r"it may set .*reno") as raised:
        check_congestion(config("nobody-has-this"))
    assert raised.value.subject == "transport.congestion_control nobody-has-this"
    assert "'auto'" in raised.value.hint


@pytest.mark.parametrize("control", ["auto", "system", "reno"])
def test_what_everybody_may_have_is_good(control: str) -> None:
    with somebody():
        check_congestion(config(control))
