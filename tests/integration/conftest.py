"""What tests of several files here need."""

import pytest

from tests.support.loops import BOTH, NewLoop


@pytest.fixture(params=BOTH)
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Return what makes a loop; the test runs once for each kind."""
    made: NewLoop = request.param
    return made
