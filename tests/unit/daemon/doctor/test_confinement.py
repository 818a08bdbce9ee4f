from __future__ import annotations

import pytest

from ckptd.daemon.doctor.confinement import judge_confinement
from ckptd.model.words import CheckResult, ConfinementState
from ckptd.store.files.landlock import Confinement


@pytest.mark.parametrize(
    ("state", "verdict", "finding", "remedy"),
    [
        (ConfinementState.CONFINED, CheckResult.OK, "alone", ""),
        (ConfinementState.ABSENT, CheckResult.OK, "Linux 5.19", ""),
        (ConfinementState.DISABLED, CheckResult.WARN, "switched off", "lsm="),
        (ConfinementState.FORBIDDEN, CheckResult.WARN, "forbids", "SystemCallFilter="),
    ],
)
def test_a_daemon_that_could_be_confined_and_is_not_is_warned_of(
    state: ConfinementState, verdict: CheckResult, finding: str, remedy: str
) -> None:
    row = judge_confinement(Confinement(state))
    assert row.verdict is verdict
    assert finding in row.finding
    assert remedy in row.remedy
    assert bool(row.remedy) == (verdict is not CheckResult.OK)
