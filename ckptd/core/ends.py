"""Which facts end which orders: the contract of the code that carries the orders out.

Every order that starts something ends with exactly one of the events in its row, however late.
``FetchRange`` has any number of ``RangeProgressed`` before. An order with an empty row is done
when it is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PlacementFailed,
    RangeEnded,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)

ENDS: Final[Mapping[type[Effect], frozenset[type[Event]]]] = {
    FetchManifest: frozenset({ManifestArrived, ManifestMissed, ManifestRefused}),
    PrepareStaging: frozenset({StagingPrepared, StagingRefused}),
    FetchRange: frozenset({RangeEnded}),
    CloseLane: frozenset(),
    ConfirmHolding: frozenset({HoldingConfirmed}),
    CommitBlocks: frozenset({BlocksCommitted, CommitFailed}),
    PlaceVersion: frozenset({VersionPlaced, PlacementFailed}),
    DiscardStaging: frozenset({StagingDiscarded}),
    ChooseVersion: frozenset(),
    EndRecovery: frozenset(),
}
"""By order. Closing a lane ends its transfers, each with a ``RangeEnded`` of its own."""

ENDED_BY: Final[Mapping[type[Event], type[Effect]]] = {
    event: effect for effect, events in ENDS.items() for event in events
}
"""The same by event: which order it ends. Other events end none."""

assert set(ENDS) == set(get_args(Effect)), "every order has a row"
assert set(ENDED_BY) <= set(get_args(Event)), "rows hold events"
assert len(ENDED_BY) == sum(map(len, ENDS.values())), "an event ends one kind of order"
