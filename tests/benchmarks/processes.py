"""What processes cost: CPU time and memory, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from ckptd.limits import KIB

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PEAK_OF_MEMORY = "5"
"""Written to ``clear_refs`` sets the peak to what is resident now: proc(5)."""


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all that it started, in seconds."""
    ticks = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def reset_peak(pid: int) -> None:
    """Forget how much memory a process had at most so far."""
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text(_PEAK_OF_MEMORY)


def peak_bytes(pid: int) -> int:
    """Return how much memory a process and all that it started had resident at most.

    Pages of mapped files count, those that are only in the page cache do not.
    """
    return sum(_status_bytes(each, "VmHWM") for each in family(pid))


def shared_out_bytes(pid: int) -> int:
    """Return how much memory a process and all that it started take, pages of several by share."""
    found = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) * KIB
    return found


def family(pid: int) -> list[int]:
    """Return a process and all that it started, if they still run."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * KIB
    raise AssertionError(f"/proc/{pid}/status has no {name}")
