"""Which congestion control sends the bodies of a daemon: what ``ss`` says of its connections."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection

from tests.benchmarks.competitors import run

_SENT = re.compile(r"\bbytes_sent:(\d+)")
_PAGE = ("ss", "-Htino", "state", "established")


def seen_congestion(ports: Collection[int]) -> str:
    """Return what most bytes from some ports are sent with; empty if that cannot be seen."""
    if shutil.which("ss") is None:
        return ""
    return most_used(run(*_PAGE), ports)


def most_used(page: str, ports: Collection[int]) -> str:
    """Return what most bytes from some ports were sent with, by what ``ss -ti`` printed."""
    sent: Counter[str] = Counter()
    is_ours = False
    for line in page.splitlines():
        if not line[:1].isspace():
            local = line.split()[2]
            is_ours = int(local.rpartition(":")[2]) in ports
        elif is_ours:
            found = _SENT.search(line)
            sent[_algorithm(line)] += int(found.group(1)) if found else 0
    return max(sent, key=lambda name: sent[name], default="")


def _algorithm(line: str) -> str:
    """Return the first word that is neither a flag nor a value: so ``ss`` prints it."""
    return next(word for word in line.split() if word not in _FLAGS and ":" not in word)


_FLAGS = frozenset({"ts", "sack", "ecn", "ecnseen", "fastopen"})
