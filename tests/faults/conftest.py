"""Sources that all tests of faults share, each behind a proxy of the test's own."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, FileFacts, Node, tree_digest
from tests.support.fault_proxy import fault_proxy
from tests.support.faulty_network import Connect, Network


@pytest.fixture(scope="package")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Four nodes that hold version 100; the tests leave them as they are."""
    with Cluster(tmp_path_factory.mktemp("sources")) as made:
        yield made.sources("a", "b", "c", "d")


@pytest.fixture(scope="package")
def published(sources: list[Node]) -> dict[str, FileFacts]:
    """What the version consists of."""
    return dict(tree_digest(sources[0].path("100")))


@pytest.fixture
def connect(sources: list[Node], cluster: Cluster) -> Iterator[Connect]:
    """Make a receiver that knows the first of the sources."""
    with contextlib.ExitStack() as proxies:

        def made(count: int) -> Network:
            links = [
                proxies.enter_context(fault_proxy(source.data_port, seed=number))
                for number, source in enumerate(sources[:count])
            ]
            return Network(cluster, links)

        yield made
