"""File systems of a test's own, in a mount namespace that nobody else sees."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_CLONE_NEWNS = 0x00020000  # <linux/sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True, capture_output=True)


def unmount(path: Path) -> None:
    """Take a mount away even if it is in use."""
    subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)


@contextlib.contextmanager
def tmpfs(path: Path, options: str = "size=64m") -> Iterator[Path]:
    path.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield path
    finally:
        unmount(path)


@contextlib.contextmanager
def failing_disk(path: Path, *, size_bytes: int) -> Iterator[Callable[[], int]]:
    """Mount an ext4 of a file's own; what is yielded makes it read-only as an error does.

    Unlike a remount that works also while files are open for writing.
    """
    path.mkdir(parents=True, exist_ok=True)
    image = path.with_name(f"{path.name}.ext4")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
    mount("-o", "loop,errors=remount-ro", str(image), str(path))
    found = subprocess.run(
        ["findmnt", "-no", "SOURCE", str(path)], check=True, capture_output=True, text=True
    )
    trigger = Path("/sys/fs/ext4", Path(found.stdout.strip()).name, "trigger_fs_error")
    try:
        yield lambda: trigger.write_text("1")
    finally:
        unmount(path)


def in_mount_namespace(work: Callable[[], None]) -> None:
    """Run in a thread with mounts of its own; processes it starts have them too.

    Skips the test where that is not allowed.
    """
    problems: list[BaseException] = []
    is_allowed = os.geteuid() == 0

    def run() -> None:
        nonlocal is_allowed
        is_allowed = _libc.unshare(_CLONE_NEWNS) == 0
        if is_allowed:
            try:
                mount("--make-rprivate", "/")
                work()
            except BaseException as error:  # noqa: BLE001  raised again below
                problems.append(error)

    if is_allowed:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    if not is_allowed:
        pytest.skip("needs root for a mount namespace")
    if problems:
        raise problems[0]
