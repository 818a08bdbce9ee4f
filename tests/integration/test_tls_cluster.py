"""Daemons that know each other by certificates do what they do without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.api import Outcome
from tests.support.cluster import NAME, Cluster, tree_digest

pytestmark = pytest.mark.integration


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Cluster]:
    """Nodes with certificates of one authority."""
    with Cluster(tmp_path, tls=True) as made:
        yield made


def test_a_version_comes_back_over_tls(secure: Cluster) -> None:
    sources = secure.sources("a", "b")
    receiver = secure.node("r", peers=[f"{source.node}@{source.address}" for source in sources])
    result = receiver.recover()
    assert result.result is Outcome.COMPLETE
    assert tree_digest(receiver.path(NAME, "100")) == tree_digest(sources[0].path("100"))
    assert result.bytes_received - result.bytes_wasted == result.bytes_total
