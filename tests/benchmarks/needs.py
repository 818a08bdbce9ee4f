"""What benchmarks need from elsewhere, and what brings it: ``make bench-peers``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from tests.benchmarks.competitors import PEERS_PYTHON
from tests.benchmarks.instruments.compiling import has_header

_DEBIAN = (
    "aria2c",
    "cc",
    "curl",
    "fio",
    "iperf3",
    "nginx",
    "openssl",
    "perf",
    "rclone",
    "rsync",
    "ss",
)
_PACKAGES = {
    "aria2c": "aria2",
    "cc": "gcc libc6-dev",
    "nginx": "nginx-light",
    "openssl": "libssl-dev",
    "perf": "linux-perf",
    "ss": "iproute2",
}
"""Debian's names where they are others than those of the programs."""

_PYTHON = ("libtorrent", "torchft", "py-spy")
_PIP = {"torchft": "'torch==2.13.0' torchft"}
"""A build of torch for processors alone suffices: pip's --extra-index-url says where it lies."""


_HEADERS = {"openssl": "openssl/ssl.h"}
"""What is needed for compiling alone, by a header of it."""


def missing(programs: Sequence[str]) -> list[str]:
    """Return which of some programs and modules are not installed."""
    return [name for name in programs if not _is_here(name)]


@cache
def _is_here(name: str) -> bool:
    if name in _HEADERS:
        return has_header(_HEADERS[name])
    if name not in _PYTHON:
        return shutil.which(name) is not None
    if name == "py-spy":
        return PEERS_PYTHON.with_name(name).exists()
    if not PEERS_PYTHON.exists():
        return False
    found = f"import sys, importlib.util as u; sys.exit(u.find_spec({name!r}) is None)"
    return subprocess.run((PEERS_PYTHON, "-c", found), check=False).returncode == 0


def main() -> int:
    """Say what is missing and how to get it; install nothing."""
    programs, modules = missing(_DEBIAN), missing(_PYTHON)
    for name in (*_DEBIAN, *_PYTHON):
        print(f"{name:12} {'missing' if name in programs or name in modules else 'here'}")
    if programs:
        packages = " ".join(_PACKAGES.get(name, name) for name in programs)
        print(f"\napt-get install {packages}")
    if modules:
        environment = PEERS_PYTHON.parent.parent
        print(f"\npython3 -m venv {environment}")
        wanted = " ".join(_PIP.get(name, name) for name in modules)
        print(f"{environment}/bin/pip install {wanted}")
    if not programs and not modules:
        print("\nEverything that make bench compares with is here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
