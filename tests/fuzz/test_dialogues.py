"""A receiver in a hundred conversations with sources that misbehave, and in those that are kept.

Each process has a clock of its own, which jumps over waits; so they are played in processes.
``make fuzz TARGET=dialogues`` plays more, and ``SEED=`` repeats one.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_SEEDS: Final = Path(__file__).parent / "dialogues" / "seeds.txt"
_ROOT: Final = Path(__file__).parents[2]
_COUNT: Final = 100
_PROCESSES: Final = 2


def _kept() -> list[int]:
    lines = (line.partition("#")[0].strip() for line in _SEEDS.read_text().splitlines())
    return [int(line.split()[0]) for line in lines if line]


def _begin(seeds: str, count: int = 1) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.dialogues", "--seeds", seeds, "--count", str(count)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(300)
def test_a_receiver_is_led_astray_by_no_source() -> None:
    share = _COUNT // _PROCESSES
    runs = [_begin(str(1 + number * share), share) for number in range(_PROCESSES)]
    runs.append(_begin(",".join(map(str, _kept()))))
    for run in runs:
        said, _ = run.communicate()
        assert run.returncode == 0, said
