"""At which addresses a question is kept open, where there are more than may be."""

from __future__ import annotations

from random import Random

from ckptd.model.addresses import Address


class OpenQuestions:
    """Has so many places.

    Args:
        rng: Draws who gets one.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._places: dict[Address, None] = {}

    def has_place(self, address: Address, places_max: int, *, among: int) -> bool:
        """Return whether a question may be kept open at an address, perhaps in place of another.

        Places change hands by lot, each about as often as the others are asked: so nobody
        depends for long on whom it happened to meet.

        Args:
            address: Which.
            places_max: How many places there are.
            among: How many addresses there are.
        """
        if address in self._places or len(self._places) < places_max:
            self._places[address] = None
            return True
        if self._rng.random() * among >= places_max:
            return False
        del self._places[self._rng.choice(list(self._places))]
        self._places[address] = None
        return True

    def leave(self, address: Address) -> None:
        """Free the place of an address, if it has one."""
        self._places.pop(address, None)
