"""What a disk does, for everybody and for this process, as the kernel counts it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, NamedTuple

from ckptd.limits import KIB

_DEVICES: Final = "/sys/dev/block"
_DISKS: Final = "/sys/class/block"
_OWN: Final = "/proc/self/io"
_SECTOR_BYTES: Final = 512
_KNOW_IDLE: Final = frozenset({"bfq", "mq-deadline"})
"""Schedulers that serve the idle class after others; ``none`` and ``kyber`` know no classes."""


class DiskCounters(NamedTuple):
    """Since the disk was found.

    Attributes:
        read_bytes: Read from it.
        written_bytes: Written to it.
        writes: Writes and flushes, whatever their size.
    """

    read_bytes: int
    written_bytes: int
    writes: int


class OwnCounters(NamedTuple):
    """What this process has read from disks and written to them."""

    read_bytes: int
    written_bytes: int


def disk_of(device: int) -> str | None:
    """Return the name of the disk behind a file system; ``None`` if there is none, or many.

    A partition is a part of its disk, which serves the others as well.
    """
    try:
        place = os.readlink(f"{_DEVICES}/{os.major(device)}:{os.minor(device)}")
    except OSError:
        return None
    above, name = place.split("/")[-2:]
    return above if _has(name, "partition") else name


def counted(disk: str) -> DiskCounters | None:
    """Return what a disk has done; ``None`` if it is gone, or nothing is counted."""
    with suppress(OSError, ValueError, IndexError):
        fields = [int(field) for field in _read(f"{_DISKS}/{disk}/stat").split()]
        flushes = fields[15] if len(fields) > 15 else 0  # noqa: PLR2004 (since Linux 5.5)
        return DiskCounters(
            fields[2] * _SECTOR_BYTES, fields[6] * _SECTOR_BYTES, fields[4] + flushes
        )
    return None


def own_counted() -> OwnCounters | None:
    """Return what this process has done; ``None`` if that is not counted."""
    with suppress(OSError, ValueError, KeyError):
        found = dict(line.split(": ") for line in _read(_OWN).splitlines())
        return OwnCounters(int(found["read_bytes"]), int(found["write_bytes"]))
    return None


def scheduler_of(disk: str) -> str:
    """Return what orders the requests of a disk; empty if that is not known."""
    with suppress(OSError):
        _, bracket, rest = _read(f"{_DISKS}/{disk}/queue/scheduler").partition("[")
        return rest.partition("]")[0] if bracket else ""
    return ""


def gives_way_to(disk: str | None, refusal: str) -> str:
    """Say how reading from a disk gives way to others who use it.

    Args:
        disk: Its name; ``None``: not known.
        refusal: Why this process does not read in the idle class; empty: it does.
    """
    if disk is None:
        return "to nobody: what else its disk does is not known here, only the rate counts"
    scheduler = scheduler_of(disk)
    if refusal:
        return f"by its rate, to what else {disk} does; the idle class {refusal}"
    if scheduler not in _KNOW_IDLE:
        known = f"its scheduler {scheduler}" if scheduler else "what orders its requests"
        return f"by its rate, to what else {disk} does; {known} knows no idle class"
    return f"by its rate and in the idle class, to what else {disk} does"


def _has(disk: str, name: str) -> bool:
    with suppress(OSError):
        _read(f"{_DISKS}/{disk}/{name}")
        return True
    return False


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read(4 * KIB)
