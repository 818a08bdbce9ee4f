"""Says which places of versions are not as they were recorded, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.words import PlaceState
from ckptd.store.files.roots import Roots
from ckptd.store.published.places import HeldVersion, Place, count_by_state

_NAMED_MAX: Final = 10
"""Places that are named; ``ckptctl checkpoints`` has all."""


def judge_places(versions: Iterable[HeldVersion], roots: Roots) -> Iterator[CheckRow]:
    """Yield what is wrong with places: content that changed or is gone, and units left out.

    Args:
        versions: What is in the catalog.
        roots: Where it is.
    """
    versions = tuple(versions)
    counts = count_by_state(versions)
    bad = [
        (held, place)
        for held in versions
        for place in held.places
        if place.state in {PlaceState.STALE, PlaceState.PARTIAL}
    ]
    if counts[PlaceState.CHOSEN.value]:
        yield passed("place", "this node", _in_part(versions))
    for held, place in bad[:_NAMED_MAX]:
        yield _judge(held, place, roots.absolute(place.root, place.directory))
    if len(bad) > _NAMED_MAX:
        yield warned(
            "place",
            f"{len(bad) - _NAMED_MAX} more",
            "are stale or in part",
            "'ckptctl checkpoints' lists all of them.",
        )
    if not bad:
        suspect, unseen = counts[PlaceState.SUSPECT.value], counts[PlaceState.UNSEEN.value]
        reading = f"; {suspect} {_are(suspect)} read again" if suspect else ""
        waiting = (
            f"; {unseen} {_are(unseen)} not looked at yet since ckptd started" if unseen else ""
        )
        yield passed("place", "this node", f"no file is known to have changed{reading}{waiting}")


def _judge(held: HeldVersion, place: Place, directory: str) -> CheckRow:
    version = f"{held.holding.checkpoint}@{held.holding.version}"
    recover = f"'ckptctl recover {version} --to {directory}'"
    if place.state is PlaceState.PARTIAL:
        return warned(
            "place",
            directory,
            f"{version} in part: {len(place.lacking)} required of {place.unit_count} units lack",
            f"{recover} fetches them once somebody has them.",
        )
    there = place.unit_count - len(place.absent)
    of_all = f"{len(place.changed)} of {there} unit{'s' * (there != 1)}"
    count = of_all if place.changed else "nothing"
    reason = place.reason.removeprefix(f"file {directory}/")
    left = "the others are served" if place.changed and place.is_serving else "nothing is served"
    if place.wrong_names and not place.changed:
        wrong = len(place.wrong_names)
        count = "1 link or empty directory" if wrong == 1 else f"{wrong} links or empty directories"
        left = "all units are served"
        reason = reason.replace(f" {directory}/", " ", 1)
    return warned(
        "place",
        directory,
        f"{version} is stale, {count} changed, {left}: {reason}",
        f"{recover} puts it right, with --overwrite also what somebody changed on purpose; "
        f"'ckptctl forget {version} --place {directory}' lets go of it, and files stay.",
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _in_part(versions: Iterable[HeldVersion]) -> str:
    """Say what is here in part because nobody asked for more of it."""
    chosen = [
        f"{held.holding.checkpoint}@{held.holding.version}"
        for held in versions
        for place in held.places
        if place.state is PlaceState.CHOSEN
    ]
    more = len(chosen) - _NAMED_MAX
    some = ", ".join(chosen[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return f"here in part by choice: {some}"
