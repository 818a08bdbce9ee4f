"""What holds for all tests, and the daemons that several kinds of them use."""

import faulthandler
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.cluster import Cluster, Node

# The machine of continuous integration may be busy: an example may take its time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell ignores SIGINT in what it starts in the background, and so would every child of ours.
signal.signal(signal.SIGINT, signal.default_int_handler)


EXIT_S = 60
"""Longest that threads which tests left behind may keep the interpreter from ending."""


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End a run whose tests are over but whose threads hang, with their stacks and as failed."""
    faulthandler.dump_traceback_later(EXIT_S, exit=True)


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Nodes of one test; ``with_and_without_tls`` lets it run twice."""
    with Cluster(tmp_path, tls=getattr(request, "param", "plain") == "tls") as made:
        yield made


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Two nodes that hold version 100, for tests that leave that and the nodes as they are."""
    with Cluster(tmp_path_factory.mktemp("sources")) as made:
        yield made.sources("a", "b")
