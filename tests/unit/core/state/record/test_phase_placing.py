"""What is kept of a placing by phases, and what begins again with it."""

from __future__ import annotations

from ckptd.core.state.record.phase_placing import PhasePlacing


def test_what_stands_stays_known_when_phases_are_placed_again() -> None:
    placing = PhasePlacing(position=2, has_begun=True, obstacle="a file", retry_at_ns=7)
    placing.start_over()
    assert (placing.position, placing.retry_at_ns) == (0, None)
    assert (placing.has_begun, placing.obstacle) == (True, "a file")
