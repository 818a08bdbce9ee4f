"""What a network interface has carried, and what it can carry."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from ckptd.errors import NotFound
from ckptd.limits import KIB

_PLACE: Final = "/sys/class/net"
_MBIT: Final = 125_000


class Carried(NamedTuple):
    """Bytes since the interface is up, headers included."""

    received_bytes: int
    sent_bytes: int


def carried(interface: str) -> Carried:
    """Return what an interface has carried.

    Raises:
        NotFound: There is none of that name.
    """
    try:
        return Carried(
            *(int(_read(interface, f"statistics/{which}_bytes")) for which in ("rx", "tx"))
        )
    except OSError as error:
        raise NotFound(
            f"network interface {interface!r}", "is not there", "'ip link' lists those that are."
        ) from error


def speed_bytes_per_s(interface: str) -> int | None:
    """Return what an interface can carry; ``None`` if the system does not say."""
    with suppress(OSError, ValueError):
        mbit_per_s = int(_read(interface, "speed"))
        return mbit_per_s * _MBIT if mbit_per_s > 0 else None
    return None


def is_hardware(interface: str) -> bool:
    """Tell whether an interface is a device, and not a bridge or tunnel within the kernel."""
    try:
        _read(interface, "device/uevent")
    except OSError:
        return False
    return True


def _read(interface: str, name: str) -> str:
    assert "/" not in interface
    with open(f"{_PLACE}/{interface}/{name}", encoding="ascii") as file:
        return file.read(KIB)
