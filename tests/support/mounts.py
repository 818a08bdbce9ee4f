"""File systems of a test's own, in a mount namespace that nobody else sees."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
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
    with _mounted(path, "-t", "tmpfs", "-o", options, "tmpfs"):
        yield path


@contextlib.contextmanager
def ramfs(path: Path) -> Iterator[Path]:
    """Memory that does not know fallocate(2)."""
    with _mounted(path, "-t", "ramfs", "ramfs"):
        yield path


@contextlib.contextmanager
def ext4(path: Path, *, size_bytes: int, options: str = "loop") -> Iterator[Path]:
    """Mount an ext4 of a file's own."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    image = path.with_name(f"{path.name}.ext4")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
    with _mounted(path, "-o", options, str(image)):
        yield path


@contextlib.contextmanager
def failing_disk(path: Path, *, size_bytes: int) -> Iterator[Callable[[], int]]:
    """Mount an ext4; what is yielded makes it read-only as an error does.

    Unlike a remount that works also while files are open for writing.
    """
    with ext4(path, size_bytes=size_bytes, options="loop,errors=remount-ro"):
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(path)], check=True, capture_output=True, text=True
        )
        trigger = Path("/sys/fs/ext4", Path(found.stdout.strip()).name, "trigger_fs_error")
        yield lambda: trigger.write_text("1")


@contextlib.contextmanager
def _mounted(path: Path, *what: str) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    try:
        mount(*what, str(path))
    except subprocess.CalledProcessError as error:  # not root, or root in a container
        pytest.skip(f"needs leave to mount a file system: {error.stderr.decode().strip()}")
    try:
        yield
    finally:
        unmount(path)


def file_system(place: str) -> str:
    """Return the type of the file system a directory is on."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    within = [mount for mount in mounts if f"{place}/".startswith(mount[1].rstrip("/") + "/")]
    # Of several at one place the last one is seen.
    return max(reversed(within), key=lambda mount: len(mount[1]))[2]


def needs_disk(path: Path) -> None:
    """Skip a test if a path lies in memory."""
    if file_system(str(path)) in {"tmpfs", "ramfs"}:
        pytest.skip("temporary files lie in memory, where nothing is reserved or written back")


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
