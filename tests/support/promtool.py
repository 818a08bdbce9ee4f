"""Prometheus's own checks, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def program(name: str) -> str:
    """Return the path of a program of the Debian package prometheus; skip if it is not there."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus)")
    return path


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(
        [program("promtool"), *arguments], input=text, capture_output=True, text=True, check=False
    )
