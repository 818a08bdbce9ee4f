"""What is seen of the receiver in the cluster of a test."""

from __future__ import annotations

import pytest

from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.cluster import Cluster
from tests.support.simulation import R


@pytest.fixture
def book(cluster: Cluster) -> NodeBook:
    return cluster.books.nodes[R]
