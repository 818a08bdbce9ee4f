"""What measured costs say to the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.instruments.kinds import Kind
from tests.benchmarks.instruments.spending import Spending, Spent, costs_of, parse_count

RECEIVER = Spending(
    cpu_s=(1.5, 1.0, 1.25),
    held_s=(0.5, 0.25, 0.75),
    switches=(10, 20, 30),
    takes=100,
    kinds={
        Kind.RECEIVING: 0.125,
        Kind.WRITING: 0.5,
        Kind.HASHING: 0.25,
        Kind.CRYPTO: 0.0625,
        Kind.COPYING: 0.1875,
        Kind.INTERPRETER: 0.375,
        Kind.KERNEL: 1.0,
    },
)
SOURCES = Spending((0.5,), (0.25,), (1,), None, {Kind.SENDING: 0.25, Kind.INTERPRETER: 0.125})


def test_processor_time_of_kinds_is_what_the_model_takes() -> None:
    costs = costs_of(Spent((1.0,), RECEIVER, SOURCES))
    assert costs.receiver_cpu_s == 1.25
    assert costs.sources_cpu_s == 0.5
    assert costs.lane_cpu_s == 1.125
    assert costs.interpreter_s == 0.375
    assert costs.source_interpreter_s == 0.125
    assert costs.file_lock_s == 0.5
    assert costs.decrypting_s == 0.25


def test_nobody_decrypts_without_tls() -> None:
    plain = replace(RECEIVER, kinds={Kind.COPYING: 0.5})
    assert costs_of(Spent((1.0,), plain, SOURCES)).decrypting_s == 0


def test_without_kinds_the_time_that_the_lock_was_held_stands_for_the_interpreter() -> None:
    blind = replace(RECEIVER, kinds={})
    costs = costs_of(Spent((1.0,), blind, replace(SOURCES, kinds={}, held_s=())))
    assert costs.interpreter_s == 0.5
    assert costs.source_interpreter_s == 0
    assert costs.lane_cpu_s == 1.25
    assert costs.file_lock_s == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("6231,,probe_libpython3:take_gil,1000,100.00,,\n", 6231),
        ("# started\n\n17,,probe:take_gil,1,100.00,,\n", 17),
        ("<not counted>,,probe:take_gil,0,0.00,,\n", 0),
        ("", 0),
    ],
)
def test_a_count_is_read(text: str, count: int) -> None:
    assert parse_count(text) == count
