"""What was just recovered is in memory for the job that loads it, up to a bound."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ckptd.control.messages.life_cycle import RemoveRequest
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import NAME, Cluster, eventually
from tests.support.metrics_page import samples
from tests.support.mounts import needs_disk
from tests.support.page_cache import pages_in_memory
from tests.support.stagings import content_of

pytestmark = pytest.mark.integration

SIZES = {"model.bin": 2 * MIB, "optimizer.bin": 12 * MIB}


def kept(path: Path) -> bool:
    """Tell whether more of a file is in memory than what was not free to go."""
    return pages_in_memory(path) * mmap.PAGESIZE > MIB


def test_critical_units_stay_in_memory_and_give_way_to_a_newer_version(cluster: Cluster) -> None:
    source = cluster.node("a")
    needs_disk(source.path())
    # On a slow machine blocks may come as differences from the older one, which is read for that.
    bound = {"CKPTD_RECOVERY__KEEP_WARM": "3MiB", "CKPTD_TRANSPORT__CODING": "false"}
    receiver = cluster.prepare("r", peers=[source.address], environment=bound)
    receiver.start()
    receiver.wait_ready()
    for version in (100, 101):
        directory = source.path(str(version))
        directory.mkdir()
        for seed, (name, size_bytes) in enumerate(SIZES.items(), 2 * version):
            (directory / name).write_bytes(content_of(size_bytes, seed=seed))
        source.publish(directory, version=version, critical=("model.bin",), deferred=())
        result = receiver.recover(version=version)
        assert (result.result, result.bytes_kept_warm) == (Result.COMPLETE, 2 * MIB)
        assert samples(receiver, "kept_warm_bytes") == {"": 2 * MIB}
        # As far as the kernel lets it stay.
        assert kept(receiver.path(NAME, str(version), "model.bin"))
        assert not kept(receiver.path(NAME, str(version), "optimizer.bin"))
    eventually(lambda: not kept(receiver.path(NAME, "100", "model.bin")), "the older one went")
    list(receiver.client.remove(RemoveRequest(checkpoint=NAME, version=101)))
    assert sum(samples(receiver, "kept_warm_bytes").values()) == 0
