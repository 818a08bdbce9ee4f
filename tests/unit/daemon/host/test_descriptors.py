from __future__ import annotations

import os
import resource

import pytest

from ckptd.daemon.host.descriptors import affordable, descriptors
from tests.support.scarcity import without_descriptors


def test_those_that_are_open_are_counted() -> None:
    used, limit = descriptors()
    extra = os.dup(0)
    assert descriptors() == (used + 1, limit)
    os.close(extra)


def test_when_none_is_left_all_are_in_use() -> None:
    with without_descriptors():
        used, limit = descriptors()
    assert used == limit


@pytest.mark.parametrize(
    ("limit", "connections"), [(65536, 512), (1024, 512), (64, 32), (1, 1), (-1, 512)]
)
def test_a_listener_takes_half_of_them_at_most(
    limit: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert affordable(512, one_in=2) == connections
