"""The memory for manifests that are on their way here, or looked at: whoever sends them.

One manifest has 64 MiB at most, and several holders may be asked at once, for several recoveries.
What has come is counted, not what was announced: a source that announces much and sends it drop by
drop takes no room from others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ckptd.errors import Shortage
from ckptd.limits import MANIFEST_BYTES_MAX

ROOM_BYTES: Final = 2 * MANIFEST_BYTES_MAX
"""The two that began first always have room, however long they are; the rest share what is left."""
_FIRST: Final = 2


class RoomShare:
    """What one manifest takes of the room."""

    def __init__(self, room: ManifestRoom) -> None:
        self._room = room
        self.taken_bytes = 0
        self.gives_way = False

    def grow(self, count_bytes: int) -> None:
        """Take more.

        Raises:
            Shortage: There is no more, or those who began earlier need it.
        """
        self.taken_bytes += count_bytes
        self._room.settle()
        if self.gives_way:
            raise Shortage("manifest", "waits: there is no memory for it beside others that come")


class ManifestRoom:
    """Who has how much of it."""

    def __init__(self) -> None:
        self._shares: list[RoomShare] = []  # the first began first

    @contextmanager
    def share(self) -> Iterator[RoomShare]:
        """Have a share of the room while a manifest comes and is looked at."""
        share = RoomShare(self)
        self._shares.append(share)
        try:
            yield share
        finally:
            self._shares.remove(share)

    @property
    def taken_bytes(self) -> int:
        """What all of them have."""
        return sum(share.taken_bytes for share in self._shares)

    def settle(self) -> None:
        """Let those who began last give way, until the rest fits."""
        staying = sum(share.taken_bytes for share in self._shares if not share.gives_way)
        for share in reversed(self._shares[_FIRST:]):
            if staying <= ROOM_BYTES:
                break
            if not share.gives_way:
                share.gives_way = True
                staying -= share.taken_bytes
