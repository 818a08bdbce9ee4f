"""Whether a place is fit to become active by what is known of it, and what to do if it is not."""

from __future__ import annotations

from ckptd.errors import Conflict
from ckptd.model.life import LifeCause, is_permitted, life_at_place
from ckptd.model.words import PlaceState
from ckptd.store.published.places import HeldVersion, Place


def check_ready(held: HeldVersion, place: Place, path: str, *, allow_partial: bool) -> None:
    """Check that a version is right at a place by what is known of it.

    Args:
        held: The version.
        place: Where it stands.
        path: That as a person writes it.
        allow_partial: It may lack required units.

    Raises:
        Conflict: It is not, or not known to be.
    """
    name, subject = name_of(held), f"{name_of(held)} in {path}"
    life = life_at_place(is_active=False, is_withdrawn=place.is_withdrawn)
    if not is_permitted(life, LifeCause.ACTIVATE):
        raise Conflict(subject, f"is {life}", "Publish the directory again, then activate it.")
    look = f"Wait until 'ckptctl checkpoints' says that it is here, or: ckptctl verify {name}"
    recover = f"ckptctl recover {name} --to {path}"
    match place.state:
        case PlaceState.HERE:
            return
        case PlaceState.UNSEEN:
            raise Conflict(subject, "was not looked at since ckptd started", look)
        case PlaceState.SUSPECT:
            count = f"{len(place.suspect)} of {place.unit_count} units"
            raise Conflict(subject, f"is suspect: {count} are to be hashed again", look)
        case PlaceState.PARTIAL | PlaceState.CHOSEN:
            if allow_partial:
                return
            problem = f"lacks {len(place.lacking)} of {place.unit_count} units"
            hint = f"Permit that with --partial, or bring the rest: {recover}"
            raise Conflict(subject, problem, hint)
        case _:
            problem = f"is {place.state}: {place.reason}"
            raise Conflict(subject, problem, f"Put it right: {recover}")


def name_of(held: HeldVersion) -> str:
    """Return a version as a person writes it."""
    return f"{held.holding.checkpoint}@{held.holding.version}"
