"""How long a process holds its interpreter lock, by looking from outside.

The lock of CPython (3.7 to 3.13) lies in the process at a place that depends on the build alone,
and begins with the switch interval. So it is found in this process, which runs the same build, by
an interval that nothing else has; in others it is read through ``/proc/PID/mem``, hundreds of times
a second. Nothing runs in them, and nothing there waits for a look.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import struct
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

LOOKS_PER_S = 500
_LOCK = struct.Struct("@LPiL")
"""The interval in microseconds, who held it last, whether somebody holds it, how often it went to
another thread."""
_INTERVALS_US = (912_347, 823_459)
"""Of no program; both must stand at the place."""


class Region(NamedTuple):
    """Some addresses of a process and the file that is mapped there; no name: none is."""

    start: int
    end: int
    name: str


def parse_regions(maps: str) -> list[Region]:
    """Read ``/proc/PID/maps``."""
    regions = []
    for line in maps.splitlines():
        addresses, _, _, _, _, *name = line.split(None, 5)
        start, end = addresses.split("-")
        regions.append(Region(int(start, 16), int(end, 16), name[0] if name else ""))
    return regions


def base_of(regions: Collection[Region], name: str) -> int:
    """Return where a file begins in a process; LookupError: it is not mapped there."""
    return next(region.start for region in sorted(regions) if region.name == name)


def end_behind(regions: Collection[Region], address: int) -> int:
    """Return where the memory ends that goes on without a gap from an address."""
    end = address
    for region in sorted(regions):
        if region.start <= end < region.end:
            end = region.end
    return end


def places_of(memory: bytes, value: int) -> set[int]:
    """Return at which aligned places a number stands."""
    wanted = struct.pack("@L", value)
    found, at = set(), memory.find(wanted)
    while at >= 0:
        if at % len(wanted) == 0:
            found.add(at)
        at = memory.find(wanted, at + 1)
    return found


class LockPlace(NamedTuple):
    """Where the lock is in each process of this build: behind the beginning of a file."""

    file: str
    offset: int


def find_lock() -> LockPlace | None:
    """Find the lock in this process; ``None``: this build has it somewhere else."""
    try:
        runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except ValueError:
        return None
    regions = parse_regions(Path("/proc/self/maps").read_text())
    size_bytes = end_behind(regions, runtime) - runtime
    before_s = sys.getswitchinterval()
    found: set[int] | None = None
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        for interval_us in _INTERVALS_US:
            sys.setswitchinterval(interval_us / 1e6)
            places = places_of(os.pread(memory, size_bytes, runtime), interval_us)
            found = places if found is None else found & places
    finally:
        sys.setswitchinterval(before_s)
        os.close(memory)
    if found is None or len(found) != 1:
        return None
    (place,) = found
    home = next(region for region in regions if region.start <= runtime < region.end)
    if not home.name:
        return None
    return LockPlace(home.name, runtime + place - base_of(regions, home.name))


class Looks(NamedTuple):
    """What was seen of one process.

    Attributes:
        looks: How often somebody looked.
        held: How often the lock was held.
        switches: How often it went to another thread than the one that had it last, all counted.
        seconds: Between the first look and the last.
    """

    looks: int
    held: int
    switches: int
    seconds: float

    @property
    def held_s(self) -> float:
        """How long the lock was held, also while the holder waited for a processor."""
        return self.seconds * self.held / self.looks if self.looks else 0.0


class Looking:
    """A thread that looks at some processes until it is ended.

    Args:
        place: Where the lock is.
        pids: Processes of the same build.
    """

    def __init__(self, place: LockPlace, pids: Collection[int]) -> None:
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._memories: dict[int, tuple[int, int]] = {}
        for pid in pids:
            regions = parse_regions(Path(f"/proc/{pid}/maps").read_text())
            address = base_of(regions, place.file) + place.offset
            self._memories[pid] = (os.open(f"/proc/{pid}/mem", os.O_RDONLY), address)
        self._held = dict.fromkeys(pids, 0)
        self._count = 0

    def _state(self, pid: int) -> tuple[bool, int]:
        memory, address = self._memories[pid]
        _, _, is_held, switches = _LOCK.unpack(os.pread(memory, _LOCK.size, address))
        return bool(is_held), switches

    def _look(self) -> None:
        # Drawn pauses: none keeps step with what it looks at.
        drawn = random.Random(1)
        while not self._ends.wait(2 * drawn.random() / LOOKS_PER_S):
            self._count += 1
            for pid in self._held:
                self._held[pid] += self._state(pid)[0]

    @contextlib.contextmanager
    def during(self) -> Iterator[dict[int, Looks]]:
        """Look until the context ends; the dictionary is filled then."""
        seen: dict[int, Looks] = {}
        before = {pid: self._state(pid)[1] for pid in self._held}
        started_s = time.perf_counter()
        self._thread.start()
        try:
            yield seen
        finally:
            self._ends.set()
            self._thread.join()
            seconds = time.perf_counter() - started_s
            for pid, held in self._held.items():
                switches = self._state(pid)[1] - before[pid]
                seen[pid] = Looks(self._count, held, switches, seconds)
            for memory, _ in self._memories.values():
                os.close(memory)


def looks_at(
    place: LockPlace, pids: Collection[int]
) -> contextlib.AbstractContextManager[Mapping[int, Looks]]:
    """Look at processes until the context ends."""
    return Looking(place, pids).during()
