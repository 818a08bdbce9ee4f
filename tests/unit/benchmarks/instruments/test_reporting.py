"""Costs and predictions as tables."""

from __future__ import annotations

from tests.benchmarks.instruments.kinds import Kind
from tests.benchmarks.instruments.reporting import bigger_machines, check, cost_table, figure
from tests.benchmarks.instruments.scaling import Costs
from tests.benchmarks.instruments.spending import Spending, Spent

SIDE = Spending((1.0, 1.0), (0.25, 0.25), (1500, 1500), 20_000, {Kind.HASHING: 0.5})
BLIND = Spending((0.5, 0.9), (), (), None, {})
COSTS = Costs(1.0, 0.25, 0.75, 0.25, 0.125, 0.5)


def test_a_median_that_its_rounds_do_not_support_is_said_to_sway() -> None:
    assert figure((1.0, 1.1, 1.2)) == "1.10 s"
    assert figure((1.0, 1.1, 1.5)) == "sways by 45% around 1.10 s"
    assert figure((1500, 1500), "") == "1,500"
    assert figure(()) == "-"


def test_what_could_not_be_measured_is_a_dash() -> None:
    table = cost_table({"large": Spent((2.0, 2.0), SIDE, BLIND)})
    lines = {line.split("  ")[0]: line.split() for line in table.splitlines()}
    assert lines["... taken"][-2:] == ["20,000", "-"]
    assert lines["interpreter lock held"][-3:] == ["0.25", "s", "-"]
    assert lines["... hashing"][-4:] == ["0.50", "s", "0.00", "s"]
    assert "sways" in lines["processor time"]


def test_a_check_says_how_far_the_prediction_is_off() -> None:
    spent = Spent((1.0, 1.0), SIDE, SIDE)
    assert check(COSTS, 1, 4, spent) == ("1", "0.80 GB/s", "cores", "1.00 GB/s", "-20%")


def test_bigger_machines_have_a_line_for_cores_and_files() -> None:
    head, *lines = bigger_machines({"plain": COSTS}).splitlines()
    assert head.split() == ["CORES", "FILES", "PLAIN"]
    assert lines[0].split()[:4] == ["2", "1", "2.0", "GB/s:"]
    assert lines[-1].endswith("4.0 GB/s: the interpreter")
