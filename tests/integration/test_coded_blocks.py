"""A version comes as its difference from one that both ends have, over a link that is limited."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, tree_digest
from tests.support.coming_coded import until_coded
from tests.support.metrics_page import samples
from tests.support.weights import weights

pytestmark = pytest.mark.integration

SIZE = 24 * MIB
"""Three times what is asked for as it is, so that it is known what the link brings."""
# A tenth of what two cores code while ten others work on them: nothing else may decide.
LINK = """
[limits]
egress = "8MiB/s"
[serving]
coding = "8 cores"  # where that is used up blocks go as they are
"""


def test_a_neighbouring_version_travels_as_a_difference(cluster: Cluster) -> None:
    source = cluster.node("a", sections=LINK)
    receiver = cluster.node("r", peers=[source.address])
    results = []

    def recover(version: int) -> None:
        directory = source.path(str(version))
        directory.mkdir()
        (directory / "model.bin").write_bytes(weights(version, SIZE))
        (directory / "config.json").write_text(f'{{"step": {version}}}')
        source.publish(directory, "m", version, critical=(), deferred=())
        result = receiver.recover("m", version)
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(directory)
        results.append(result)

    recover(1)
    came = until_coded(receiver, recover, first=2)
    assert came.sent_bytes < came.plain_bytes / 4
    (part,) = receiver.client.explain(results[-1].recovery).peers
    assert part.coding.startswith(("coded: coded came ", "not coded: "))
    request = PlanRequest(checkpoint="m", version=came.version)
    (row,) = receiver.client.plan(request).sources
    if row.coding.startswith("coded as last time, "):  # that takes 8 MiB since it was chosen
        assert part.coding.startswith("coded: ")
    if not any(result.bytes_wasted for result in results):
        sent_bytes = sum(samples(source, "sent_bytes_total").values())
        assert sent_bytes < len(results) * SIZE - came.plain_bytes / 2


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

    def recover(version: int) -> None:
        for shard in range(2):
            directory = source.path(f"{version}-{shard}")
            directory.mkdir()
            (directory / f"rank-{shard}.bin").write_bytes(weights(version * 10, SIZE))
            name = f"job/shard-{shard}-of-2"
            source.publish(directory, name, version, critical=(), deferred=())
        request = RecoverRequest(checkpoint="job", version=version, shards="all")
        last = receiver.result(receiver.client.recover(request).recovery)
        for shard in range(2):
            came = Path(last.target, f"rank-{shard}.bin").read_bytes()
            assert came == source.path(f"{version}-{shard}", f"rank-{shard}.bin").read_bytes()

    recover(1)
    came = until_coded(receiver, recover, first=2)
    assert came.sent_bytes < came.plain_bytes / 4, "without bases it would be two thirds"
