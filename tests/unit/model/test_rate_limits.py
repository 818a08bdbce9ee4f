from __future__ import annotations

import pytest

from ckptd.errors import UsageError
from ckptd.limits import KIB, MIB
from ckptd.model.rate_limits import LimitKey, parse_limit, parse_limit_key
from ckptd.model.words import Criticality, Direction, Urgency

KEYS = {
    "ingress.total": LimitKey(Direction.INGRESS),
    "egress.background": LimitKey(Direction.EGRESS, Urgency.BACKGROUND),
    "disk_write.critical": LimitKey(Direction.DISK_WRITE, Urgency.CRITICAL),
    "egress.peers.node-b.example": LimitKey(Direction.EGRESS, peer="node-b.example"),
}


@pytest.mark.parametrize(("text", "key"), KEYS.items())
def test_a_limit_has_a_name(text: str, key: LimitKey) -> None:
    assert parse_limit_key(text) == key
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    ["", "ingress", "up.total", "ingress.", "ingress.all", "ingress.peers.", "ingress.peers"],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"ingress, egress, disk_write, a dot, one of total"):
        parse_limit_key(text)


def test_a_limit_is_a_rate_that_one_can_get_along_with() -> None:
    assert parse_limit("400MiB/s") == 400 * MIB
    assert parse_limit("128KiB/s") == 128 * KIB
    for text in ("0B/s", "127KiB/s", "2TiB/s"):
        with pytest.raises(UsageError, match="from 128KiB/s"):
            parse_limit(text)


def test_every_criticality_is_a_class() -> None:
    classes = [(urgency.value, urgency.label) for urgency in Urgency]
    assert classes == [
        *((criticality.value, criticality.label) for criticality in Criticality),
        (3, "background"),
    ]
