"""The stages of a recovery, and which may follow which."""

from __future__ import annotations

import enum
from typing import Final


class Stage(enum.Enum):
    """How far a recovery is."""

    SEEKING = "seeking"
    """No version is chosen: nobody is known who has one."""
    DESCRIBING = "describing"
    """The manifest is on its way."""
    PREPARING = "preparing"
    """Space is reserved; what an earlier run left is hashed again."""
    TRANSFERRING = "transferring"
    """Blocks are fetched, verified, committed."""
    PLACING = "placing"
    """Every block is committed; the version moves to its final name."""
    DISCARDING = "discarding"
    """It will not complete; what it left is removed."""


class LocalOrder(enum.Enum):
    """What a recovery waits for on this node; one thing at a time."""

    MANIFEST = "manifest"
    STAGING = "staging"
    COMMIT = "commit"
    PLACEMENT = "placement"
    DISCARD = "discard"


MOVES: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.SEEKING: frozenset({Stage.DESCRIBING, Stage.DISCARDING}),
    Stage.DESCRIBING: frozenset({Stage.SEEKING, Stage.PREPARING, Stage.DISCARDING}),
    Stage.PREPARING: frozenset({Stage.TRANSFERRING, Stage.DISCARDING}),
    Stage.TRANSFERRING: frozenset({Stage.PREPARING, Stage.PLACING, Stage.DISCARDING}),
    Stage.PLACING: frozenset({Stage.PREPARING, Stage.DISCARDING}),
    Stage.DISCARDING: frozenset(),
}
"""Which stage may follow which; back to preparing if what was staged is lost. A recovery that ended
is not in the state any more."""

assert set(MOVES) == set(Stage)
