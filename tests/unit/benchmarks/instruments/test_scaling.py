"""What binds, by the seconds that a gigabyte takes of each resource."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.instruments.scaling import Binding, Costs, Setup, bounds, predict

PLAIN = Costs(
    receiver_cpu_s=1.25,
    sources_cpu_s=0.75,
    lane_cpu_s=1.0,
    interpreter_s=0.25,
    source_interpreter_s=0.5,
    file_lock_s=0.5,
)
TLS = replace(PLAIN, decrypting_s=0.4)
ROOMY = Setup(cores=1000, lanes=1000, files=1000, sources=1000)


def test_cores_bind_a_small_machine_and_work_for_its_sources_too() -> None:
    here = Setup(cores=2, lanes=4, files=1, sources=4, has_sources=True)
    assert predict(PLAIN, here) == (1.0, Binding.CORES)
    assert predict(PLAIN, replace(here, has_sources=False)) == (1.6, Binding.CORES)
    assert predict(PLAIN, replace(here, cores=1)) == (0.5, Binding.CORES)


@pytest.mark.parametrize(
    ("setup", "rate_gb_per_s", "binding"),
    [
        (ROOMY, 4.0, Binding.INTERPRETER),
        (replace(ROOMY, files=1), 2.0, Binding.FILES),
        (replace(ROOMY, files=2, lanes=1), 1.0, Binding.LANES),
        (replace(ROOMY, sources=1), 2.0, Binding.SOURCES),
        (replace(ROOMY, card_gb_per_s=1.25), 1.25, Binding.CARD),
    ],
)
def test_the_scarcest_binds(setup: Setup, rate_gb_per_s: float, binding: Binding) -> None:
    assert predict(PLAIN, setup) == (rate_gb_per_s, binding)


def test_one_decryption_at_a_time_binds_over_tls_alone() -> None:
    assert predict(TLS, ROOMY) == (2.5, Binding.DECRYPTION)
    assert Binding.DECRYPTION not in {each.binding for each in bounds(PLAIN, ROOMY)}


def test_files_that_no_lane_writes_to_help_nobody() -> None:
    lanes = replace(ROOMY, lanes=2)
    (files,) = [each for each in bounds(PLAIN, lanes) if each.binding is Binding.FILES]
    assert files.rate_gb_per_s == 4.0


def test_what_costs_nothing_binds_nothing() -> None:
    free = Costs(0, 0, 0, 0, 0, 0)
    assert predict(free, ROOMY) == (float("inf"), Binding.CARD)
