"""The stages of a recovery, and which may follow which."""

from __future__ import annotations

from typing import Final

from ckptd.model.words import Stage

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

assert set(MOVES) == {stage for stage in Stage if not stage.is_ended}
