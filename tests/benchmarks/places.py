"""Where benchmarks put their files and their results."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from ckptd.model.quantities import format_size
from tests.benchmarks.memory import available_bytes
from tests.support.mounts import file_system

RESULTS = Path("bench-results")


def choose_place(needed_bytes: int) -> str:
    """Return /dev/shm if there is room for it in memory, else the place for temporary files."""
    if min(shutil.disk_usage("/dev/shm").free, available_bytes()) >= needed_bytes:
        return "/dev/shm"
    place = tempfile.gettempdir()
    print(f"/dev/shm has no room for {format_size(needed_bytes)}: the disk is measured, too.")
    _check_room(place, needed_bytes)
    return place


def choose_disk(needed_bytes: int) -> Path:
    """Return a directory on a disk: that for temporary files, or this one."""
    place = tempfile.gettempdir()
    if file_system(place) in {"tmpfs", "ramfs", "overlay"}:
        place = str(Path.cwd())
    _check_room(place, needed_bytes)
    return Path(place)


def _check_room(place: str, needed_bytes: int) -> None:
    if shutil.disk_usage(place).free < needed_bytes:
        sys.exit(f"{place} has no room for {format_size(needed_bytes)}; use --size")
