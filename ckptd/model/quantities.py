"""Sizes, rates and durations as people write and read them.

``"64MiB"``, ``"400MiB/s"``, ``"8Gbit/s"``, ``"1.5s"``. Inside the program they are integers:
bytes, bytes per second, nanoseconds.
"""

from __future__ import annotations

import re
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import DAY_S, SECOND

_NUMBER: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]+(?:/s)?)?", re.ASCII)

_SIZES: Final = {
    "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_RATES: Final = {f"{unit}/s": size for unit, size in _SIZES.items()} | {
    "kbit/s": 125, "Mbit/s": 125_000, "Gbit/s": 125_000_000,
}  # fmt: skip
_DURATIONS: Final = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
    "d": 86_400 * SECOND,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Return bytes: ``"64MiB"`` → 67108864.

    Raises:
        UsageError: Not a size.
    """
    return _parse(text, _SIZES, "size", "64MiB")


def parse_rate(text: str) -> int:
    """Return bytes per second: ``"8Gbit/s"`` → 1000000000.

    Raises:
        UsageError: Not a rate.
    """
    return _parse(text, _RATES, "rate", "400MiB/s")


def parse_duration(text: str) -> int:
    """Return nanoseconds: ``"1.5s"`` → 1500000000.

    Raises:
        UsageError: Not a duration.
    """
    return _parse(text, _DURATIONS, "duration", "1.5s")


def _parse(text: str, units: dict[str, int], kind: str, example: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    unit = match and units.get(match[2] or "")
    if match is None or unit is None:
        known = ", ".join(units)
        raise UsageError(
            f"{kind} {text[:40]!r}",
            f"is not a number and a unit like {example!r}",
            f"Units: {known}.",
        )
    whole, _, fraction = match[1].partition(".")
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def format_size(size_bytes: int) -> str:
    """Return a size of three digits and a unit: ``1.4 GiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 999.5:
            return _three_digits(size, unit)
    return _three_digits(size / 1024, "TiB")


def _three_digits(number: float, unit: str) -> str:
    return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"


def format_rate(bytes_per_s: float) -> str:
    """Return a rate like ``1.4 GiB/s``."""
    return f"{format_size(round(bytes_per_s))}/s"


def format_age(age_s: float) -> str:
    """Return how long ago something was, to be followed by ``ago``: ``12s``, ``3h``, ``5d``."""
    seconds = max(int(age_s), 0)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 2 * DAY_S:
        return f"{seconds // 3600}h"
    return f"{seconds // DAY_S}d"


def format_duration(duration_s: float) -> str:
    """Return a duration like ``0.8s``, ``2m10s`` or ``3h05m``."""
    if duration_s < 9.95:
        return f"{duration_s:.1f}s"
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
