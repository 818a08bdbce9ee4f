"""Disks that a case needs: one whose file system shares extents, and one that reads slowly."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BLKIO = Path("/sys/fs/cgroup/blkio")
"""Version 1 of control groups limits what a process reads; what is written back is the kernel's."""


@contextlib.contextmanager
def on_loop(kind: str, place: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a file system in a file of its own; the file is gone at the end.

    Args:
        kind: ``xfs`` or ``btrfs``; both share extents as they come.
        place: Where the file lies.
        size_bytes: How large it is.
    """
    image, path = place / f"{kind}.image", place / kind
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run((f"mkfs.{kind}", "-q", image), check=True)
    subprocess.run(("mount", "-o", "loop", image, path), check=True)
    try:
        yield path
    finally:
        subprocess.run(("umount", "--lazy", path), check=True)
        image.unlink()


@contextlib.contextmanager
def read_throttled(pid: int, disk: str, bytes_per_s: int) -> Iterator[None]:
    """Limit what a process reads from a disk, by a control group of its own.

    Args:
        pid: The process.
        disk: Numbers of the device: ``MAJOR:MINOR``.
        bytes_per_s: The limit.
    """
    group = BLKIO / f"ckptd-bench-{pid}"
    group.mkdir()
    try:
        (group / "blkio.throttle.read_bps_device").write_text(f"{disk} {bytes_per_s}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (BLKIO / "cgroup.procs").write_text(str(pid))
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(50):
        with contextlib.suppress(OSError):  # the process is still being moved
            group.rmdir()
            return
        time.sleep(0.02)


def can_throttle() -> bool:
    """Tell whether what a process reads can be limited here."""
    return os.geteuid() == 0 and (BLKIO / "blkio.throttle.read_bps_device").exists()


def disk_of(path: Path) -> str:
    """Return the numbers of the device that a file lies on."""
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def drop_from_cache(directory: Path) -> None:
    """Have all files of a directory read from the disk by who reads them next."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
