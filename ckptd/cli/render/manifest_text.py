"""What a version consists of, and which rule says what of its units, as text for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ckptd.cli.render.chain_text import chain_text
from ckptd.cli.render.text import (
    bare_name_counts,
    printable,
    reference,
    table,
    wrapped_to,
)
from ckptd.control.messages.manifests import (
    FoldRow,
    ManifestView,
    PhaseRow,
    ProposalView,
    SaidOfUnits,
    UnitRow,
)
from ckptd.model.quantities import format_size

_Column = tuple[str, Callable[[FoldRow], str]]


def said_lines(said: SaidOfUnits, width: int | None = None) -> list[str]:
    """Say what would be said of the units of a version, and by which rules.

    Args:
        said: What is said.
        width: How wide a line may be; ``None``: no limit.
    """
    lines = [*_fold_lines(said.folds, said.phases, said.left_out, width), ""]
    lines += _phase_lines(said.phases)
    lines += (f"counts for no unit: {printable(rule)}" for rule in said.idle_rules)
    if said.proposal is not None:
        lines.append(_proposal_line(said.proposal))
    return lines


def manifest_lines(view: ManifestView, width: int | None = None) -> list[str]:
    """Say what a version consists of.

    Args:
        view: What it consists of.
        width: How wide a line may be; ``None``: no limit.
    """
    name = reference(view.checkpoint, view.version)
    beside = bare_name_counts(view.links, view.empty_directories)
    where = "here" if view.is_here else "at peers"
    lines = [
        f"{name}, {where}: {format_size(view.bytes)}, {view.units} units{beside}",
        f"digest {printable(view.digest)}",
        *([] if view.chain is None else [chain_text(view.chain)]),
        *([f"full version, made of {printable(view.made_of)}"] if view.made_of else []),
        *_phase_lines(view.phases),
        "",
    ]
    if not view.listed:
        return [*lines, *_fold_lines(view.folds, view.phases, view.left_out, width)]
    lines += _unit_lines(view.listed, width)
    if view.next_start is not None:
        left = view.listed_total - view.next_start
        lines.append(f"and {left} more: --start {view.next_start}, or a narrower --units")
    return lines


def _phase_lines(phases: Sequence[PhaseRow]) -> list[str]:
    """Say how long each phase is, if there are several or one has a name."""
    return [_phase_line(phase) for phase in phases] if _has_phases(phases) else []


def _phase_line(phase: PhaseRow) -> str:
    units = f"{phase.units} unit{'s' * (phase.units != 1)}"
    critical = f", {format_size(phase.critical_bytes)} of it critical"
    return (
        f"phase {printable(phase.name)}: {units}, {format_size(phase.bytes)}"
        f"{critical * bool(phase.critical_bytes)}"
    )


def _has_phases(phases: Sequence[PhaseRow]) -> bool:
    return [phase.name for phase in phases] != ["all"]


def _proposal_line(proposal: ProposalView) -> str:
    format_name = printable(proposal.format)
    if proposal.is_counted:
        return f"recognised: {format_name}; that counts where no rule says otherwise"
    if proposal.problem:
        return f"recognised: {format_name}; with --recognise: {printable(proposal.problem)}"
    phases = ", ".join(
        f"{printable(each.name)} {format_size(each.bytes)}" for each in proposal.phases
    )
    return f"recognised: {format_name}; with --recognise it would be {phases}"


def _fold_lines(
    folds: Iterable[FoldRow], phases: Sequence[PhaseRow], left_out: int, width: int | None
) -> list[str]:
    folds = tuple(folds)
    columns: list[_Column] = [
        ("UNITS", lambda fold: str(fold.units)),
        ("SIZE", lambda fold: format_size(fold.bytes)),
    ]
    if _has_phases(phases):
        columns.append(("PHASE", lambda fold: fold.phase))
    columns.append(("CLASS", _class_of))
    if any(fold.after_units for fold in folds):
        columns.append(("AFTER", _after_of))
    columns.append(("PATHS", lambda fold: fold.paths))
    lines = _table_of(folds, columns, width)
    if any(fold.rule for fold in folds):
        with_rules = _table_of(folds, [*columns, ("RULE", _rule_of)], None)
        if width is None or max(map(len, with_rules)) <= width:
            lines = with_rules
        else:
            lines = [*lines[:1], *_rules_below(folds, lines[1:], width)]
    return [*lines, *((f"and {left_out} units more, of other kinds",) if left_out else ())]


def _table_of(folds: Iterable[FoldRow], columns: Sequence[_Column], width: int | None) -> list[str]:
    rows = ([cell(fold) for _, cell in columns] for fold in folds)
    return table([name for name, _ in columns], rows, width, whole=("UNITS", "SIZE", "CLASS"))


def _rules_below(folds: Iterable[FoldRow], lines: Iterable[str], width: int) -> Iterator[str]:
    """Yield each row with its rules below it: cut off, their numbers would be gone first."""
    for fold, line in zip(folds, lines, strict=True):
        yield line
        if fold.rule:
            yield from wrapped_to(f"  by {printable(_rule_of(fold))}", width)


def _class_of(row: FoldRow | UnitRow) -> str:
    """Say how urgent units are, and whether they have to be there."""
    if row.is_optional:
        return f"{row.criticality}, optional"
    return row.criticality


def _after_of(fold: FoldRow) -> str:
    if not fold.after_units:
        return ""
    others = fold.after_units - 1
    return f"{fold.after[0]} and {others} more" if others else fold.after[0]


def _rule_of(fold: FoldRow) -> str:
    if not fold.lifted_before:
        return fold.rule
    return f"{fold.rule}; lifted: before {fold.lifted_before}"


def _unit_lines(units: Iterable[UnitRow], width: int | None) -> list[str]:
    rows = [
        [
            format_size(unit.bytes),
            unit.phase,
            _class_of(unit),
            ", ".join(unit.after),
            printable(unit.dtype),
            unit.path,
        ]
        for unit in units
    ]
    header = ["SIZE", "PHASE", "CLASS", "AFTER", "DTYPE", "PATH"]
    for column in (4, 3):
        if not any(row[column] for row in rows):
            for row in (header, *rows):
                del row[column]
    return table(header, rows, width, whole=("SIZE", "CLASS"))
