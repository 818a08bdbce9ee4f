"""Saves that rotate leave nothing behind; ``python -m tests.benchmarks.rotating`` plays more."""

from pathlib import Path

import pytest

from tests.benchmarks.rotating import SETTLED_ROUNDS, grown, rotation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROUNDS = 30


def test_publishing_recovering_and_rotating_piles_nothing_up(tmp_path: Path) -> None:
    with rotation(tmp_path) as played:
        for _ in range(SETTLED_ROUNDS):
            played.play()
        settled = played.look()
        for _ in range(ROUNDS - SETTLED_ROUNDS):
            played.play()
        for before, after in zip(settled, played.look(), strict=True):
            assert not grown(before, after), "; ".join(grown(before, after))
