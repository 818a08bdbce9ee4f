"""The named scenarios: what the scheduler reaches today may not get lost.

``make sim SCENARIO=all`` prints all numbers, also those that are still to be reached.
"""

import pytest

from ckptd.sim.scenarios import TRIALS, herd

REACHED = {
    "healthy": {"received / needed", "duplicate bytes", "time / ideal"},
    "fat": {"time / ideal", "received / needed"},
    "slow": {"time / ideal"},
    "liars": {
        "honest nodes in quarantine",
        "liars that were caught and are not on record",
        "received / needed",
    },
    "silent": {
        "re-routed after, s, at worst",
        "time / ideal of the other three, at worst",
    },
    "killed": {"time / ideal of what remains"},
    "critical": {"time to critical, s"},
}


@pytest.mark.parametrize("name", REACHED)
def test_a_named_scenario_reaches_what_it_promises(name: str) -> None:
    _, measures = TRIALS[name](1).run()
    values = {measure.name: measure for measure in measures}
    assert REACHED[name] <= values.keys()
    missed = [values[known] for known in REACHED[name] if not values[known].is_reached]
    assert not missed


def test_a_small_herd_recovers_as_a_large_one_should() -> None:
    # About 5 s; a thousand nodes are ``make sim SCENARIO=herd``.
    _, measures = herd(1, receiver_count=20).run()
    assert len(measures) == 4
    assert not [measure for measure in measures if not measure.is_reached]
