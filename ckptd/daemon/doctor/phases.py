"""Says of which checkpoints nobody said what is needed first, and which phases are held up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.core.report.views import RecoverySnapshot
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.ids import CheckpointName
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion

_NAMED_MAX: Final = 10


def judge_phases(catalog: Catalog) -> Iterator[CheckRow]:
    """Yield what is said of the newest version of each checkpoint that is on offer here.

    Args:
        catalog: What is here.
    """
    newest = _newest(catalog.versions())
    without = [held for held in newest if _says_nothing(catalog, held)]
    for held in without[:_NAMED_MAX]:
        yield warned(
            "phases",
            f"{held.holding.checkpoint}@{held.holding.version}",
            "has no critical unit and one phase: it is of use only when all of it is there",
            "Say when you publish what is needed first, as 'ckptctl publish --critical GLOB' does.",
        )
    if len(without) > _NAMED_MAX:
        yield warned(
            "phases",
            f"{len(without) - _NAMED_MAX} more checkpoints",
            "have no critical unit and one phase",
            "'ckptctl checkpoints -o wide' shows what has to be there first.",
        )
    if not without:
        finding = "each that is here says what is needed first, as far as it can"
        yield passed("phases", "newest versions", finding)


def judge_held_phases(recoveries: Iterable[RecoverySnapshot]) -> Iterator[CheckRow]:
    """Yield which recoveries cannot place their next phase: somebody's file is in the way.

    Args:
        recoveries: Those under way.
    """
    for recovery in recoveries:
        if recovery.is_in_the_way:
            yield warned(
                "phases",
                f"recovery {recovery.recovery} of {recovery.checkpoint}",
                recovery.waiting_for,
                "Move that file away, or cancel the recovery; it is never replaced.",
            )


def _newest(versions: Iterable[HeldVersion]) -> list[HeldVersion]:
    """Return the newest version of each checkpoint that is on offer."""
    newest: dict[CheckpointName, HeldVersion] = {}
    for held in versions:
        known = newest.get(held.holding.checkpoint)
        if held.is_offered and (known is None or held.holding.version >= known.holding.version):
            newest[held.holding.checkpoint] = held
    return list(newest.values())


def _says_nothing(catalog: Catalog, held: HeldVersion) -> bool:
    """Return whether nothing of several units is called more urgent than the rest."""
    found = catalog.minimal_set(held.holding.digest)
    return found is not None and found.units > 1 and not found.is_declared
