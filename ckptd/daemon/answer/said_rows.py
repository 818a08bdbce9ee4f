"""Shows what is said of the units of a version that would be published, or that a manifest has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ckptd.control.messages.checkpoints import PublishUnits
from ckptd.control.messages.manifests import (
    UNITS_IN_ANSWER_MAX,
    FoldRow,
    PhaseRow,
    ProposalView,
    SaidOfUnits,
    UnitRow,
)
from ckptd.model.formats.element_types import ELEMENTS_FACT
from ckptd.model.manifest import Unit
from ckptd.model.policy.folding import Summary, summary_of_assignment
from ckptd.model.policy.recognition import RECOGNISED
from ckptd.model.space import AddressSpace
from ckptd.store.published.candidates import Candidates
from ckptd.store.published.finding import Outlook, Proposed


def said_of(outlook: Outlook) -> SaidOfUnits:
    """Show what would be said of units that are not published yet.

    Cost: O(units); not for an event loop.
    """
    files, assignment = outlook.files, outlook.files.assignment
    summary = summary_of_assignment(assignment, files.paths, files.sizes)
    return SaidOfUnits(
        phases=phase_rows(summary),
        folds=fold_rows(summary),
        left_out=summary.left_out,
        # Recognisers propose rules for whatever may be there: nobody wrote one that he misses.
        idle_rules=tuple(each for each in assignment.idle_rules if not each.startswith(RECOGNISED)),
        proposal=_proposal(files, outlook.proposed),
    )


def _proposal(files: Candidates, proposed: Proposed | None) -> ProposalView | None:
    if proposed is None:
        return None
    phases: tuple[PhaseRow, ...] = ()
    if proposed.assignment is not None:
        summary = summary_of_assignment(proposed.assignment, files.paths, files.sizes)
        phases = phase_rows(summary)
    return ProposalView(
        format=proposed.format,
        is_counted=proposed.is_counted,
        phases=phases,
        problem=proposed.problem,
    )


def unit_pages(files: Candidates) -> Iterator[PublishUnits]:
    """Yield what would be said of each unit, in urgency order."""
    assignment, paths = files.assignment, files.paths
    order = iter(files.in_urgency_order())
    while batch := tuple(islice(order, UNITS_IN_ANSWER_MAX)):
        rows: list[UnitRow] = []
        for number in batch:
            words = assignment.of(number)
            rows.append(
                UnitRow(
                    path=paths[number],
                    bytes=files.sizes[number],
                    phase=assignment.phases[words.phase],
                    criticality=words.criticality.label,
                    is_optional=words.is_optional,
                    after=tuple(paths[each] for each in words.after),
                    rule=words.origins.rules(),
                    lifted_before=words.origins.lifted_before,
                )
            )
        yield PublishUnits(units=tuple(rows))


def phase_rows(summary: Summary) -> tuple[PhaseRow, ...]:
    """Show the sums of phases."""
    return tuple(
        PhaseRow(
            name=phase.name,
            units=phase.units,
            bytes=phase.size_bytes,
            critical_bytes=phase.critical_bytes,
        )
        for phase in summary.phases
    )


def fold_rows(summary: Summary) -> tuple[FoldRow, ...]:
    """Show what is said of several units in one row."""
    return tuple(
        FoldRow(
            paths=fold.paths,
            units=fold.units,
            bytes=fold.size_bytes,
            phase=summary.phases[fold.said.phase].name,
            criticality=fold.said.criticality.label,
            is_optional=fold.said.is_optional,
            after=fold.said.after,
            after_units=fold.said.after_count,
            rule=fold.said.rule,
            lifted_before=fold.said.lifted_before,
        )
        for fold in summary.folds
    )


def unit_row(space: AddressSpace, unit: Unit) -> UnitRow:
    """Show what a manifest says of a unit."""
    units: Sequence[Unit] = space.manifest.units
    return UnitRow(
        path=unit.path,
        bytes=unit.size_bytes,
        phase=space.manifest.phases[unit.phase],
        criticality=unit.criticality.label,
        is_optional=unit.is_optional,
        is_executable=unit.is_executable,
        after=tuple(units[index].path for index in unit.after),
        digest=unit.digest.hex(),
        dtype=unit.facts.get(ELEMENTS_FACT, ""),
    )
