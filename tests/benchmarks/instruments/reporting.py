"""The measured costs and what a model makes of them, as tables and as documents."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import product

from ckptd.cli.render.text import table
from tests.benchmarks.competitors import SOURCES
from tests.benchmarks.instruments.kinds import Kind
from tests.benchmarks.instruments.scaling import Costs, Prediction, Setup, predict
from tests.benchmarks.instruments.spending import Load, Spending, Spent, costs_of
from tests.benchmarks.sway import is_steady, sway

CORES = (2, 4, 8, 16, 32, 64)
FILES = (1, 4, 16)
LANES = 16
"""Of the bigger machines in the table: sources there are, each with one lane."""


def figure(rounds: Sequence[float], unit: str = "s") -> str:
    """Return a median, or that the rounds sway too much for one."""
    if not rounds:
        return "-"
    median = statistics.median(rounds)
    text = f"{median:,.0f}" if unit == "" else f"{median:.2f} {unit}"
    return text if is_steady(rounds) else f"sways by {sway(rounds):.0%} around {text}"


def cost_table(measured: Mapping[str, Spent]) -> str:
    """Return what a gigabyte costs, a column for each side of each load."""
    sides = [
        (f"{name}, {side}", spending)
        for name, spent in measured.items()
        for side, spending in (("receiver", spent.receiver), ("sources", spent.sources))
    ]
    rows = [
        ("processor time", *(figure(each.cpu_s) for _, each in sides)),
        *(
            (f"... {kind}", *(f"{each.kinds.get(kind, 0.0):.2f} s" for _, each in sides))
            for kind in Kind
            if any(kind in each.kinds for _, each in sides)
        ),
        ("interpreter lock held", *(figure(each.held_s) for _, each in sides)),
        ("... goes to another thread", *(figure(each.switches, "") for _, each in sides)),
        ("... taken", *(_takes(each) for _, each in sides)),
        ("time", *(_time(measured, name) for name, _ in sides)),
    ]
    return "\n".join(table(("PER GB", *(name.upper() for name, _ in sides)), rows))


def _takes(spending: Spending) -> str:
    return "-" if spending.takes is None else f"{spending.takes:,.0f}"


def _time(measured: Mapping[str, Spent], side: str) -> str:
    name, _, which = side.rpartition(", ")
    return figure(measured[name].seconds) if which == "receiver" else ""


def bigger_machines(costs: Mapping[str, Costs]) -> str:
    """Return what receivers of several sizes would reach, the sources being elsewhere."""
    rows = []
    for cores, files in product(CORES, FILES):
        setup = Setup(cores, LANES, files, sources=LANES)
        rows.append(
            (str(cores), str(files), *(_said(predict(each, setup)) for each in costs.values()))
        )
    return "\n".join(table(("CORES", "FILES", *(name.upper() for name in costs)), rows))


def _said(prediction: Prediction) -> str:
    return f"{prediction.rate_gb_per_s:.1f} GB/s: {prediction.binding}"


def check(costs: Costs, cores: int, lanes: int, spent: Spent) -> tuple[str, ...]:
    """Return a line that compares a prediction for this machine with what was measured."""
    predicted = predict(costs, Setup(cores, lanes, 1, SOURCES, has_sources=True))
    rates = [1 / each for each in spent.seconds]
    measured = statistics.median(rates)
    off = predicted.rate_gb_per_s / measured - 1
    return (
        str(cores),
        f"{predicted.rate_gb_per_s:.2f} GB/s",
        str(predicted.binding),
        figure(rates, "GB/s"),
        f"{off:+.0%}",
    )


def document(load: Load, spent: Spent) -> dict[str, object]:
    """Return everything that was measured of a load, for the JSON file."""

    def side(spending: Spending) -> dict[str, object]:
        return {
            "cpu_s_per_gb": list(spending.cpu_s),
            "interpreter_held_s_per_gb": list(spending.held_s),
            "interpreter_switches_per_gb": list(spending.switches),
            "interpreter_takes_per_gb": spending.takes,
            "cpu_s_per_gb_by_kind": {str(kind): part for kind, part in spending.kinds.items()},
        }

    return {
        "load": load.name,
        "seconds_per_gb": list(spent.seconds),
        "receiver": side(spent.receiver),
        "sources": side(spent.sources),
        "costs": vars(costs_of(spent)),
    }
