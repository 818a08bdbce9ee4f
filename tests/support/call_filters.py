"""Filters of system calls as systemd makes them from a unit, for processes of a test.

``python -m tests.support.call_filters FILTER PROGRAM ARGUMENT...`` runs a program under a filter,
which is JSON: what a call that is not named ends with (0: it is permitted), and the calls that end
with each errno (0: they are permitted).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy/systemd/ckptd.service"

_ALLOW = 0x7FFF0000  # <seccomp.h>
_ERRNO = 0x00050000

Filter = tuple[int, Mapping[int, Sequence[str]]]


def under(calls: Filter, *command: str) -> list[str]:
    """Return the command that runs another one under a filter."""
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    other, by_errno = calls
    described = json.dumps([other, {str(code): sorted(names) for code, names in by_errno.items()}])
    return [sys.executable, "-m", "tests.support.call_filters", described, *command]


def refusing(**calls: int) -> Filter:
    """Return a filter that permits all but some calls, each of which ends with an errno."""
    return 0, {code: [name for name in calls if calls[name] == code] for code in calls.values()}


def filter_of_unit(*, without: str = "") -> Filter:
    """Return what systemd makes of ``SystemCallFilter=`` in the unit that comes with ckptd.

    Calls that systemd does not know end with ENOSYS, others that are not permitted with EPERM.

    Args:
        without: Calls with such names are taken out of its lines again.
    """
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = UNIT.read_text()
    assert re.findall(r"^SystemCallErrorNumber=(\w+)$", text, re.MULTILINE) == ["EPERM"]
    permitted = _calls("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        for name in line.removeprefix("~").split():
            if line.startswith("~"):
                permitted -= _calls(name)
            elif not without or not name.startswith(without):
                permitted |= _calls(name)
    return errno.ENOSYS, {0: sorted(permitted), errno.EPERM: sorted(_calls("@known") - permitted)}


@functools.cache
def _calls(name: str) -> frozenset[str]:
    """Return the calls of a set, or the one of that name."""
    if not name.startswith("@"):
        return frozenset({name})
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name],
        capture_output=True, text=True, check=True,
        env=os.environ | {"SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
    ).stdout  # fmt: skip
    inner = [line.strip() for line in shown.splitlines()[1:]]
    return frozenset().union(*(_calls(each) for each in inner if each and each[0] != "#"))


def _load(other: int, by_errno: Mapping[str, Sequence[str]]) -> None:
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ALLOW if other == 0 else _ERRNO | other))
    assert context.value is not None
    for code, names in by_errno.items():
        action = _ALLOW if code == "0" else _ERRNO | int(code)
        for name in names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # others are of other architectures
                assert library.seccomp_rule_add_array(context, action, number, 0, None) == 0, name
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    _load(*json.loads(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
