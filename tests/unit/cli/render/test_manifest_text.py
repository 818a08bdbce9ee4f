"""What a version consists of, and what would be said of one, for people."""

from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.manifest_text import manifest_lines, said_lines
from ckptd.control.messages.manifests import (
    FoldRow,
    PhaseRow,
    ProposalView,
    SaidOfUnits,
    UnitRow,
)
from ckptd.limits import GIB, KIB, MIB
from tests.support.control_samples import MANIFEST

PLAIN = FoldRow(
    paths="a … z", units=2, bytes=3, phase="all", criticality="normal", is_optional=False
)
NO_PHASES = (PhaseRow(name="all", units=2, bytes=3, critical_bytes=0),)


def test_a_manifest_is_shown_by_phases_and_kinds() -> None:
    assert manifest_lines(MANIFEST) == [
        "llama/rank-0@100, here: 26 GiB, 21 units, 2 links",
        f"digest {'d' * 64}",
        "phase core: 12 units, 2 GiB, 4 MiB of it critical",
        "phase rest: 9 units, 24 GiB",
        "",
        "UNITS  SIZE    PHASE  CLASS               AFTER               PATHS",
        "8      4 MiB   core   critical                                *.json",
        "1      1 MiB   core   normal              model-1 and 3 more  model.index",
        "9      24 GiB  rest   deferred, optional                      optim-*.pt",
    ]


def test_one_that_says_nothing_has_few_columns() -> None:
    view = replace(MANIFEST, phases=NO_PHASES, folds=(PLAIN,), is_here=False, links=0, left_out=4)
    assert manifest_lines(view)[2:] == [
        "",
        "UNITS  SIZE  CLASS   PATHS",
        "2      3 B   normal  a … z",
        "and 4 units more, of other kinds",
    ]
    assert "at peers" in manifest_lines(view)[0]


def test_units_are_listed_with_how_to_go_on() -> None:
    unit = UnitRow(
        path="m\x1b.bin", bytes=4 * KIB, phase="core", criticality="normal", is_optional=False
    )
    view = replace(MANIFEST, listed=(unit,), listed_total=5, next_start=1)
    assert manifest_lines(view)[-3:] == [
        "SIZE   PHASE  CLASS   PATH",
        "4 KiB  core   normal  m\\x1b.bin",
        "and 4 more: --start 1, or a narrower --units",
    ]
    last = replace(view, listed=(replace(unit, after=("a", "b")),), next_start=None)
    assert manifest_lines(last)[-2:] == [
        "SIZE   PHASE  CLASS   AFTER  PATH",
        "4 KiB  core   normal  a, b   m\\x1b.bin",
    ]
    typed = replace(view, listed=(replace(unit, dtype="BF16\x1b"),), next_start=None)
    assert manifest_lines(typed)[-2:] == [
        "SIZE   PHASE  CLASS   DTYPE     PATH",
        "4 KiB  core   normal  BF16\\x1b  m\\x1b.bin",
    ]


def test_the_rule_is_shown_and_what_was_lifted() -> None:
    said = SaidOfUnits(
        phases=MANIFEST.phases,
        folds=(
            replace(MANIFEST.folds[0], rule="typed", lifted_before="model.index"),
            replace(MANIFEST.folds[2], rule="../ckptd.policy.toml rule[1]"),
        ),
        idle_rules=("../ckptd.policy.toml rule[2]",),
    )
    assert said_lines(said) == [
        "UNITS  SIZE    PHASE  CLASS               PATHS       RULE",
        "8      4 MiB   core   critical            *.json      typed; lifted: before model.index",
        "9      24 GiB  rest   deferred, optional  optim-*.pt  ../ckptd.policy.toml rule[1]",
        "",
        "phase core: 12 units, 2 GiB, 4 MiB of it critical",
        "phase rest: 9 units, 24 GiB",
        "counts for no unit: ../ckptd.policy.toml rule[2]",
    ]


def test_a_rule_that_does_not_fit_is_below_its_row_with_its_number() -> None:
    both = "../ckptd.policy.toml rule[1]; configuration policy[0].rule[10]"
    said = SaidOfUnits(
        phases=MANIFEST.phases,
        folds=(
            replace(MANIFEST.folds[0], rule=both, lifted_before="model.index"),
            replace(MANIFEST.folds[2], rule="default"),
        ),
    )
    assert said_lines(said, 80)[:6] == [
        "UNITS  SIZE    PHASE  CLASS               PATHS",
        "8      4 MiB   core   critical            *.json",
        "  by ../ckptd.policy.toml rule[1]; configuration policy[0].rule[10]; lifted:",
        "    before model.index",
        "9      24 GiB  rest   deferred, optional  optim-*.pt",
        "  by default",
    ]
    assert both in said_lines(said, 200)[1]


def test_what_is_recognised_is_said() -> None:
    core = PhaseRow(name="core", units=1, bytes=MIB, critical_bytes=0)
    rest = PhaseRow(name="rest", units=1, bytes=GIB, critical_bytes=0)

    def line(proposal: ProposalView) -> str:
        folds = (replace(PLAIN, rule="default"),)
        return said_lines(SaidOfUnits(phases=NO_PHASES, folds=folds, proposal=proposal))[-1]

    proposal = ProposalView(format="Orbax", is_counted=False, phases=(core, rest))
    assert (
        line(proposal) == "recognised: Orbax; with --recognise it would be core 1 MiB, rest 1 GiB"
    )
    assert line(replace(proposal, phases=(), problem="rule: goes round")) == (
        "recognised: Orbax; with --recognise: rule: goes round"
    )
    assert line(replace(proposal, is_counted=True)) == (
        "recognised: Orbax; that counts where no rule says otherwise"
    )
