"""SIGKILL of receivers and sources at random points.

``python -m tests.benchmarks.kill_anywhere`` plays more rounds with larger versions.
"""

from pathlib import Path

import pytest

from ckptd.limits import MIB
from tests.benchmarks.kill_anywhere import arena

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_whoever_is_killed_whenever_a_recovery_ends_complete(tmp_path: Path) -> None:
    with arena(tmp_path, 40 * MIB) as played:
        rounds = [played.play(seed) for seed in range(6)]
    assert sum(each.kills for each in rounds) >= 6
    assert any(each.resumed_bytes for each in rounds)
