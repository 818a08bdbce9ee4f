"""What the numbers of a benchmark belong to."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from ckptd import __version__
from tests.support.mounts import file_system

_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
"""Over loopback cubic is up to twice as fast as bbr, whose timers pace what is sent."""


def machine_facts(place: str) -> dict[str, object]:
    """Return what another person must know to compare numbers."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "ckptd": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _first(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "processors": os.cpu_count(),
        "memory": _first(Path("/proc/meminfo"), "MemTotal"),
        "load": list(os.getloadavg()),
        "tcp": _CONGESTION.read_text().strip(),
        "files": f"{place} ({file_system(place)})",
    }


def _first(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _commit() -> str:
    shown = subprocess.run(
        ("git", "describe", "--always", "--dirty"), capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
