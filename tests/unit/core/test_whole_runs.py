"""Whole recoveries in which everything that can go wrong goes wrong, seed by seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import SourceState
from tests.support.scheduling import A, B, Saved, saved
from tests.unit.core.driver import Driver, drawn, fingerprint
from tests.unit.core.world import Source

FAULTS_END_NS = 10 * SECOND
LIMIT_NS = FAULTS_END_NS + 120 * SECOND


@pytest.mark.parametrize("seed", range(200))
def test_every_recovery_completes_once_nothing_goes_wrong_any_more(seed: int) -> None:
    driver = drawn(seed)
    driver.run(faults_end_ns=FAULTS_END_NS, limit_ns=LIMIT_NS)
    assert not +driver.open_orders, "every order ended"
    for wish in driver.wishes:
        assert wish.is_fulfilled
        assert wish.committed == wish.version.blocks
        for end in wish.ends:
            final = end.final
            wasted_bytes = sum(final.wasted_bytes.values())
            fetched_bytes = final.verified_bytes - final.resumed_bytes
            assert final.received_bytes == fetched_bytes + wasted_bytes
    for source in driver.scheduler.sources(now=driver.agenda.now):
        assert source.in_flight_bytes == 0
        if driver.sources.all[source.node].is_honest:
            assert source.trust >= 0
            assert source.state is not SourceState.DISTRUSTED


def peaceful(version: Saved, rates: dict[NodeId, int]) -> Driver:
    """Set the scene for complete holders that never fail, at so many MiB/s each."""
    sources = [
        Source(node, rate * MIB, 5 * MS, is_honest=True, held={version.digest: version.blocks})
        for node, rate in rates.items()
    ]
    return Driver(1, [version], sources, mishaps=0.0)


def test_each_source_brings_what_it_can_and_all_finish_together() -> None:
    driver = peaceful(saved(600), {A: 40, B: 10})
    driver.run(faults_end_ns=0, limit_ns=LIMIT_NS)
    [end] = driver.wishes[0].ends
    fast, slow = (source.verified_bytes for source in end.final.sources)
    assert 3.5 * slow < fast < 4.5 * slow
    # 600 MiB at 50 MiB/s are 12 s.
    assert 12 * SECOND < end.final.elapsed_ns < 13.5 * SECOND
    assert end.final.received_bytes == 600 * MIB


def test_critical_units_are_durable_long_before_the_rest_is_here() -> None:
    driver = peaceful(saved(540, critical=[60]), {A: 10, B: 10})
    driver.run(faults_end_ns=0, limit_ns=LIMIT_NS)
    final = driver.wishes[0].ends[0].final
    assert final.critical_ns is not None
    assert final.critical_ns < 5 * SECOND < 30 * SECOND < final.elapsed_ns


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_gives_the_same_orders_in_every_process(hash_seed: str) -> None:
    script = "from tests.unit.core.driver import fingerprint; print(fingerprint(range(20)))"
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == fingerprint(range(20))


def test_another_seed_gives_other_orders() -> None:
    assert fingerprint([1]) != fingerprint([2])
