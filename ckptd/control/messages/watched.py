"""What becomes of saves in watched directories."""

from __future__ import annotations

import msgspec

from ckptd.model.words import SavedState


class SaveRow(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that goes by the name of a save.

    Attributes:
        name: Its name.
        version: Which version it is.
        state: What becomes of it.
        why: Why it waits or is not taken; empty otherwise.
        wait_s: When it is looked at again because of that; 0: that depends on others.
    """

    name: str
    version: int
    state: SavedState
    why: str
    wait_s: float


class WatchedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A table ``[[watch]]`` of the configuration.

    Attributes:
        directory: Where saves appear.
        checkpoint: What they are versions of.
        pattern: What their names match, a regular expression.
        taken: How many were published since the daemon started.
        gives_way: To whom reading saves gave way, and how; empty: none was read yet.
        obstacle: Why the directory cannot be looked into; empty: it can.
        saves: The newest saves that were seen, newest version first.
    """

    directory: str
    checkpoint: str
    pattern: str
    taken: int
    gives_way: str = ""
    obstacle: str
    saves: tuple[SaveRow, ...]
