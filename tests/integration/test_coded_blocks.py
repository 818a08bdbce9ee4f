"""A version comes as its difference from one that both ends have, over a link that is limited."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, tree_digest
from tests.support.metrics_page import samples
from tests.support.weights import weights

pytestmark = pytest.mark.integration

SIZE = 24 * MIB
"""Three times what is asked for as it is, so that it is known what the link brings."""


def test_a_neighbouring_version_travels_as_a_difference(cluster: Cluster) -> None:
    source = cluster.node("a", sections='[limits]\negress = "24MiB/s"')
    receiver = cluster.node("r", peers=[source.address])
    for version in (1, 2):
        directory = source.path(str(version))
        directory.mkdir()
        (directory / "model.bin").write_bytes(weights(version, SIZE))
        (directory / "config.json").write_text(f'{{"step": {version}}}')
        source.publish(directory, "m", version, critical=(), deferred=())
    results = [receiver.recover("m", version) for version in (1, 2)]
    assert [result.result for result in results] == [Result.COMPLETE] * 2
    for version, result in zip((1, 2), results, strict=True):
        assert tree_digest(result.target) == tree_digest(source.path(str(version)))
    plain_bytes = sum(samples(receiver, "coded_plain_bytes_total").values())
    assert plain_bytes >= SIZE / 4
    sent_bytes = sum(samples(source, "sent_bytes_total").values())
    assert sent_bytes < 2 * SIZE - plain_bytes / 8


@pytest.mark.parametrize("sections", ['[serving]\ncoding = "0 cores"', ""])
def test_who_does_not_want_it_gets_blocks_as_they_are(cluster: Cluster, sections: str) -> None:
    source = cluster.node("a", sections=sections)
    own = "" if sections else "[transport]\ncoding = false\ninsecure = true"
    receiver = cluster.node("r", peers=[source.address], sections=own)
    directory = source.path("1")
    directory.mkdir()
    (directory / "model.bin").write_bytes(weights(1, SIZE))
    source.publish(directory, "m", 1, critical=(), deferred=())
    result = receiver.recover("m", 1)
    assert tree_digest(result.target) == tree_digest(directory)
    assert sum(samples(receiver, "coded_plain_bytes_total").values()) == 0
