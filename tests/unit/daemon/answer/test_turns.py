"""What is counted of callers."""

from __future__ import annotations

import pytest

from ckptd.daemon.answer.turns import Turns


def test_a_turn_counts_for_its_user_until_it_ends_however_it_does() -> None:
    turns = Turns()
    with turns.take(1), turns.take(1), turns.take(2):
        assert (turns.of(1), turns.of(2), turns.of(3), turns.total()) == (2, 1, 0, 3)
    with pytest.raises(RuntimeError), turns.take(1):
        raise RuntimeError
    assert (turns.of(1), turns.total()) == (0, 0)
