"""What several tests of connections use."""

import pytest

from tests.support.certificates import A, B, Certificates
from tests.support.pairs import Contexts


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Contexts of two nodes that trust each other."""
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    server, client = certificates.identity(A), certificates.identity(B)
    return Contexts(server._loaded.server, client.client_context)
