"""Which boot of the machine this is: by it a monotonic clock outlives a process."""

from __future__ import annotations

from typing import Final

_PATH: Final = "/proc/sys/kernel/random/boot_id"
_CHARACTERS_MAX: Final = 64


def boot_id() -> str:
    """Return what names this boot; empty where the kernel does not say."""
    try:
        with open(_PATH, encoding="ascii") as file:
            return file.read(_CHARACTERS_MAX).strip()
    except (OSError, UnicodeDecodeError):
        return ""
