"""Recoveries of some units of a version, some of which are for more later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from ckptd.core.events import ChoiceWidened
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId
from ckptd.model.unit_choice import Choice, widened
from ckptd.model.words import Stage
from ckptd.sim.script.fault import ClusterParts, Fault
from ckptd.sim.script.scenario import Wish

CHOOSING_SHARE: Final = 0.05
"""In so many clusters somebody wants a part of a version."""

_CHOICES: Final = (Choice(("*[02468]",)), Choice(("*0",)), Choice(("*[0-5]",)))
"""Units are numbered, and each version has a first one: each of these matches one at least."""

_TOO_LATE: Final = frozenset({Stage.PLACING, Stage.DISCARDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Widen(Fault):
    """Somebody wants more units of a version that is being recovered; not a fault.

    Attributes:
        recovery: Which recovery.
        choice: Which units; ``None``: all.
    """

    recovery: RecoveryId
    choice: Choice | None

    def begin(self, cluster: ClusterParts) -> None:
        """Ask for them, if the recovery is under way and not about to end."""
        node = cluster.nodes[self.node]
        if not node.is_up or node.is_frozen or self.recovery not in node.stagings:
            return
        known = node.scheduler.inspect().recoveries.get(self.recovery)
        if known is None or known.stage in _TOO_LATE:
            return
        staging = node.stagings[self.recovery]
        staging.choice = widened(staging.choice, self.choice)
        is_by_choice = staging.choice is not None
        staging.request = replace(staging.request, is_by_choice=is_by_choice)
        chosen = None
        if staging.choice is not None and known.described is not None:
            chosen = staging.choice.blocks_in(known.described.space)
        if chosen is not None or not is_by_choice:
            node.report(ChoiceWidened(self.recovery, chosen))


def draw_choices(
    seed: int, wishes: Sequence[Wish], faults: Sequence[Fault]
) -> tuple[tuple[Wish, ...], tuple[Fault, ...]]:
    """Let somebody want a part of a version, if anybody does, and perhaps more of it later.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        wishes: What is recovered.
        faults: What goes wrong.

    Returns:
        The same, with that.
    """
    rng = Random(f"choosing/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= CHOOSING_SHARE:
        return tuple(wishes), tuple(faults)
    index = rng.randrange(len(wishes))
    wish = replace(wishes[index], choice=rng.choice(_CHOICES))
    chosen = (*wishes[:index], wish, *wishes[index + 1 :])
    widening = Widen(
        node=wish.node,
        at_ns=int(4 * SECOND * rng.random() ** 2),
        recovery=RecoveryId(f"{wish.node}.{index}"),
        choice=rng.choice((None, *_CHOICES)),
    )
    more = (widening,) if rng.random() < 0.5 else ()  # noqa: PLR2004 (half of them)
    return chosen, (*faults, *more)
