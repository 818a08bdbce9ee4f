"""ckptd of another commit as a competitor, measured by that commit's own benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.competitors import Fetched, Place
from tests.benchmarks.conversing import Conversation, conversation

_SCRIPT = Path(__file__).parents[1] / "peers" / "earlier_ckptd.py"


def take_packages(commit: str, directory: Path) -> None:
    """Put the packages of a commit into a directory."""
    command = ("git", "archive", commit, "ckptd", "tests")
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    subprocess.run(("tar", "-x", "-C", directory), input=packed, check=True)


class Earlier:
    """Daemons of another commit.

    Args:
        name: In tables and rows.
        packages: The directory with ``ckptd`` and ``tests`` of that commit.
        uses_tls: They know each other by certificates.
    """

    verifies = True
    makes_files = True
    programs: Sequence[str] = ()

    def __init__(self, name: str, packages: Path, *, uses_tls: bool = False) -> None:
        self.name = name
        self.what = "another commit, verified, synced, renamed"
        self._packages = packages
        self._transport = "tls" if uses_tls else "plain"

    def version(self) -> str:
        return ""

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        # Python looks there before everywhere else, and not at all where it was started.
        found = {**os.environ, "PYTHONPATH": str(self._packages), "PYTHONSAFEPATH": "1"}
        words = (sys.executable, _SCRIPT, self._transport, place.source, place.own, place.received)
        with conversation(*words, environment=found) as self._talk:
            assert self._talk.listen() == "up"
            yield

    def fetch(self, target: Path) -> Fetched:
        talk: Conversation = self._talk
        facts: dict[str, float] = json.loads(talk.ask(str(target)))
        return Fetched(facts.pop("seconds"), facts)
