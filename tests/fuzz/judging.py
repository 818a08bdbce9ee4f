"""Runs a target many times and judges what it does."""

from __future__ import annotations

import mmap
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from ckptd.limits import MIB
from tests.fuzz.mutating import Mutator
from tests.fuzz.targets import Target

ALLOCATION_SHARE_MAX: Final = 128
"""Bytes of memory for each byte of input: an integer of one byte becomes an object in a list,
and what is accepted is read a second time."""
KEPT_BYTES_MAX: Final = 256 * MIB
"""What a process may have more than at its start. Tracing does not see what libraries in C take,
and what a target keeps of each input is little of it."""
_KEPT_SAMPLE: Final = 10_000
_ALLOCATION_SAMPLE: Final = 100
"""One input of so many is measured; tracing makes it several times as slow."""


class Finding(Exception):
    """An input that a target cannot cope with."""

    def __init__(self, target: Target, data: bytes, problem: str) -> None:
        super().__init__(f"{target.name}: {problem}: {data[:2000]!r}")
        self.data = data


@dataclass(slots=True)
class Tally:
    """What came of many executions.

    Attributes:
        executions: How many.
        accepted: How many inputs were no refusals.
        places: In how many different places inputs were refused or accepted.
        worst_ns: Processor time of the slowest execution, the best of five of its repetitions.
        allocated_bytes: Peak of the largest allocation of those that were measured.
    """

    executions: int = 0
    accepted: int = 0
    places: int = 0
    worst_ns: int = 0
    allocated_bytes: int = 0


def execute(target: Target, data: bytes) -> tuple[int, ...]:
    """Run once; return the lines of the frames in which the input was refused, or none.

    Raises:
        Finding: It raised something else.
    """
    try:
        target.run(data)
    except target.refusals as refusal:
        return _lines(refusal.__traceback__)
    except Exception as error:
        raise Finding(target, data, repr(error)[:500]) from error
    return ()


def allocated(target: Target, data: bytes) -> int:
    """Return the peak of what one run allocates.

    Raises:
        Finding: More than a small multiple of the input.
    """
    tracemalloc.start()
    try:
        execute(target, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if peak > target.free_bytes + ALLOCATION_SHARE_MAX * len(data):
        raise Finding(target, data, f"allocates {peak} bytes for {len(data)}")
    return peak


def fuzz(target: Target, executions: int, seed: int) -> Tally:
    """Run a target on drawn inputs.

    Raises:
        Finding: On the first input it cannot cope with.
    """
    mutator = Mutator(target, seed)
    tally = Tally()
    seen: set[tuple[int, ...]] = set()
    resident_bytes = _resident_bytes()
    for number in range(executions):
        data = mutator.draw()
        start_ns = time.thread_time_ns()
        place = execute(target, data)
        taken_ns = time.thread_time_ns() - start_ns
        if taken_ns > tally.worst_ns:
            tally.worst_ns = max(tally.worst_ns, min(taken_ns, _again_ns(target, data)))
        if place not in seen:
            seen.add(place)
            mutator.keep(data)
        tally.accepted += not place
        if number % _ALLOCATION_SAMPLE == 0:
            tally.allocated_bytes = max(tally.allocated_bytes, allocated(target, data))
        if number % _KEPT_SAMPLE == 0:
            kept_bytes = _resident_bytes() - resident_bytes
            if kept_bytes > KEPT_BYTES_MAX:
                raise Finding(target, data, f"kept {kept_bytes} bytes of {number} inputs")
    tally.executions = executions
    tally.places = len(seen)
    return tally


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def _again_ns(target: Target, data: bytes) -> int:
    taken: list[int] = []
    for _ in range(4):
        start_ns = time.thread_time_ns()
        execute(target, data)
        taken.append(time.thread_time_ns() - start_ns)
    return min(taken)


def _lines(traceback: TracebackType | None) -> tuple[int, ...]:
    lines: list[int] = []
    while traceback is not None:
        lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return tuple(lines)
