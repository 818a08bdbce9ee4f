"""Real daemons whose wall clock is set while they recover. Needs Debian's faketime."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, make_checkpoint
from tests.support.fault_proxy import fault_proxy

pytestmark = pytest.mark.integration

TOLERANCE_S = 20.0
"""More than any pause of a loaded machine, and much less than a clock is set by."""


class WallClock:
    """The wall clock of some daemons."""

    def __init__(self, path: Path, library: Path) -> None:
        self._path = path
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set_by("+0s")

    def set_by(self, offset: str) -> None:
        self._path.write_text(f"{offset}\n")


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("faketime is not installed")
    return WallClock(tmp_path / "offset", libraries[0])


def uptime_s(node: Node) -> float:
    return node.client.status().uptime_s


def test_a_clock_that_is_set_in_a_recovery_changes_no_duration(
    cluster: Cluster, wall_clock: WallClock
) -> None:
    source = cluster.node("source")
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        node = cluster.prepare("node", peers=[link.address], environment=wall_clock.environment)
        started_s = time.monotonic()
        node.start()
        node.wait_ready()
        begun_s = time.monotonic()
        recovery = node.begin()
        node.wait_bytes(recovery, 2 * MIB)
        wall_clock.set_by("+30d")
        view = node.client.recovery(recovery)
        assert 0 <= view.elapsed_s <= time.monotonic() - begun_s + 1
        assert 0 <= uptime_s(node) <= time.monotonic() - started_s + 1
        node.wait_bytes(recovery, 6 * MIB)
        node.kill()  # the next life goes on counting, under another wall clock
        wall_clock.set_by("-10y")
        node.start()
        node.wait_ready()
        link.heal()
        result = node.result(recovery)
    took_s = time.monotonic() - begun_s
    assert result.result is Result.COMPLETE
    assert 1.0 < result.duration_s <= took_s
    assert result.time_to_critical_s is not None
    assert result.time_to_critical_s <= result.duration_s
    if result.predicted_duration_s is not None:
        assert result.predicted_duration_s <= took_s + TOLERANCE_S
    (row,) = (row for row in node.client.checkpoints() if row.checkpoint == result.checkpoint)
    assert all(place.age_s is not None and place.age_s <= took_s for place in row.places)
