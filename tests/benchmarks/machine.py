"""What the numbers of a benchmark belong to."""

from __future__ import annotations

import datetime
import os
import platform
import socket
import subprocess
from pathlib import Path

from ckptd import __version__
from ckptd.net.source.congestion import AUTO, Congestion
from tests.support.mounts import file_system

_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
"""Over loopback cubic is up to twice as fast as bbr, whose timers pace what is sent; so ckptd takes
another one there, see :mod:`ckptd.net.source.congestion`."""
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_HUGE_PAGES_OF_MEMORY_FILES = _HUGE_PAGES.with_name("shmem_enabled")


def machine_facts(place: str) -> dict[str, object]:
    """Return what another person must know to compare numbers."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "ckptd": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _first(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory": _first(Path("/proc/meminfo"), "MemTotal"),
        "load": list(os.getloadavg()),
        "tcp": _CONGESTION.read_text().strip(),
        "tcp_of_ckptd": congestion_of_ckptd(),
        "huge_pages": _chosen(_HUGE_PAGES),
        "huge_pages_of_memory_files": _chosen(_HUGE_PAGES_OF_MEMORY_FILES),
        "files": f"{place} ({file_system(place)})",
    }


def congestion_of_ckptd() -> str:
    """Return what a daemon that this user starts sends with, unless it is configured."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        congestion = Congestion(AUTO)
        congestion.listen(listening)
        return f"{congestion} ({AUTO})"


def _first(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def chosen(choices: str) -> str:
    """Return the one of several words that stands in brackets; all if none does."""
    _, bracket, rest = choices.partition("[")
    return rest.partition("]")[0] if bracket else choices.strip()


def _chosen(path: Path) -> str:
    try:
        return chosen(path.read_text())
    except FileNotFoundError:
        return "none"


def _commit() -> str:
    shown = subprocess.run(
        ("git", "describe", "--always", "--dirty"), capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
