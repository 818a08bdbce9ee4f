"""Whether the kernel keeps the daemon from writing anywhere but where it has to."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.daemon.host.confinement import REMEDIES, reason
from ckptd.model.words import ConfinementState
from ckptd.store.files.landlock import Confinement


async def look_at_confinement(confinement: Confinement) -> AsyncGenerator[CheckRow, None]:
    """Say whether the daemon is confined, and how it could be."""
    yield judge_confinement(confinement)


def judge_confinement(confinement: Confinement) -> CheckRow:
    """Judge it: what could be and is not is somebody's to mend, an old kernel is not."""
    state, why = confinement.state, reason(confinement)
    if state is ConfinementState.CONFINED:
        finding = "can write to its roots, its state directory and its socket's alone"
        return passed("confinement", "this process", finding)
    finding = f"can write wherever its user can: {why}"
    remedy = REMEDIES.get(state)
    if remedy is None:
        return passed("confinement", "this process", finding)
    return warned("confinement", "this process", finding, remedy)
