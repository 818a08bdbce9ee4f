"""Says no where somebody lets a version go that others which stay here are deltas on.

Retention decides by the same chains (``survey.py``); here it is about what somebody names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence

from ckptd.chains.chain import Series, deltas_text
from ckptd.daemon.retain.named_places import NamedPlace
from ckptd.errors import Conflict
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.life import LifeCause
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.held_chains import series_of


async def check_no_base(catalog: Catalog, chosen: Sequence[NamedPlace], cause: LifeCause) -> None:
    """Check that no version that stays here is a delta on one that is to go, or on such a one.

    What has another place that stays does not go. What is off offer already is in the way of
    forgetting and removing what it stands on, and not of taking that off offer as well.

    Args:
        catalog: What stands here.
        chosen: Which places.
        cause: What is to happen to them.

    Raises:
        Conflict: One is.
        StorageError: The database cannot be read.
    """
    for checkpoint, going in _going(chosen).items():
        await catalog.see_family(checkpoint)
        is_withdrawal = cause is LifeCause.WITHDRAW
        off_offer = catalog.withdrawn(checkpoint) if is_withdrawal else frozenset[Digest]()
        series, but = series_of(catalog, checkpoint), off_offer.union(going)
        if not _staying(series, going, but):
            continue
        latest_first = sorted(going, key=lambda each: -going[each].held.holding.version)
        digest = _first_needed(series, latest_first, but)
        raise Conflict(
            going[digest].name,
            f"is needed: {deltas_text(_staying(series, {digest}, but))}",
            "Let those go first, the latest first, or make full versions of them before.",
        )


def _going(chosen: Iterable[NamedPlace]) -> dict[CheckpointName, dict[Digest, NamedPlace]]:
    """Return the contents that have no other place here that is on offer, by their checkpoint."""
    chosen = list(chosen)
    numbers = {each.place.number for each in chosen}
    going: dict[CheckpointName, dict[Digest, NamedPlace]] = {}
    for each in chosen:
        if all(place.number in numbers or place.is_withdrawn for place in each.held.places):
            holding = each.held.holding
            going.setdefault(holding.checkpoint, {})[holding.digest] = each
    return going


def _first_needed(series: Series, digests: Sequence[Digest], but: Container[Digest]) -> Digest:
    """Return the first of some contents that others which stay stand on; of one or more that is so.

    To look at each of thousands by itself would hold the event loop up.
    """
    return digests[
        bisect_left(
            range(len(digests)),
            True,  # noqa: FBT003 -- what is looked for
            key=lambda last: bool(_staying(series, set(digests[: last + 1]), but)),
        )
    ]


def _staying(series: Series, digests: Container[Digest], but: Container[Digest]) -> list[Version]:
    return [each.version for each in series.standing_on(digests) if each.digest not in but]
