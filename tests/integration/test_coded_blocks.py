"""A version comes as its difference from one that both ends have, over a link that is limited."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, tree_digest
from tests.support.metrics_page import samples
from tests.support.weights import weights

pytestmark = pytest.mark.integration

SIZE = 24 * MIB
"""Three times what is asked for as it is, so that it is known what the link brings."""
LINK = """
[limits]
egress = "24MiB/s"
[serving]
coding = "8 cores"  # where that is used up blocks go as they are
"""


def coded_bytes(node: Node) -> tuple[float, float]:
    """Return how long the blocks are that came coded, and how many bytes they were."""
    plain, sent = (samples(node, f"coded_{kind}_bytes_total") for kind in ("plain", "sent"))
    return sum(plain.values()), sum(sent.values())


def test_a_neighbouring_version_travels_as_a_difference(cluster: Cluster) -> None:
    source = cluster.node("a", sections=LINK)
    receiver = cluster.node("r", peers=[source.address])
    for version in (1, 2):
        directory = source.path(str(version))
        directory.mkdir()
        (directory / "model.bin").write_bytes(weights(version, SIZE))
        (directory / "config.json").write_text(f'{{"step": {version}}}')
        source.publish(directory, "m", version, critical=(), deferred=())
    results, seen = [], []
    for version in (1, 2):
        results.append(receiver.recover("m", version))
        seen.append(coded_bytes(receiver))
    assert [result.result for result in results] == [Result.COMPLETE] * 2
    for version, result in zip((1, 2), results, strict=True):
        assert tree_digest(result.target) == tree_digest(source.path(str(version)))
    plain_bytes, sent_bytes = (now - was for was, now in zip(*seen, strict=True))
    assert plain_bytes > 0
    assert sent_bytes < plain_bytes / 4
    (part,) = receiver.client.explain(results[1].recovery).peers
    assert part.coding.startswith(("coded: coded came ", "not coded: "))
    (row,) = receiver.client.plan(PlanRequest(checkpoint="m", version=2)).sources
    assert row.coding.startswith("coded as last time, ") is part.coding.startswith("coded: ")
    assert sum(samples(source, "sent_bytes_total").values()) < 2 * SIZE - plain_bytes / 2


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
    (part,) = receiver.client.explain(result.recovery).peers
    asks_nobody = "switched off here, by [transport] coding"
    why = "the source has not said that it codes" if sections else asks_nobody
    assert part.coding == f"not coded: {why}"


def test_shards_of_a_job_have_bases_of_their_own(cluster: Cluster) -> None:
    source = cluster.node("a", sections=LINK)
    receiver = cluster.node("r", peers=[source.address])
    for version in (1, 2):
        for shard in range(2):
            directory = source.path(f"{version}-{shard}")
            directory.mkdir()
            (directory / f"rank-{shard}.bin").write_bytes(weights(version * 10, SIZE))
            name = f"job/shard-{shard}-of-2"
            source.publish(directory, name, version, critical=(), deferred=())
    seen = []
    for version in (1, 2):
        request = RecoverRequest(checkpoint="job", version=version, shards="all")
        *_, last = receiver.client.watch(receiver.client.recover(request).recovery)
        assert isinstance(last, RecoveryResult)
        seen.append(coded_bytes(receiver))
        for shard in range(2):
            came = Path(last.target, f"rank-{shard}.bin").read_bytes()
            assert came == source.path(f"{version}-{shard}", f"rank-{shard}.bin").read_bytes()
    plain_bytes, sent_bytes = (now - was for was, now in zip(*seen, strict=True))
    assert plain_bytes > 0
    assert sent_bytes < plain_bytes / 4, "without bases it would be two thirds"
