"""Lets versions go that keep their files: off the offer, or out of the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ckptd.control.messages.life_cycle import LetGo, LetGoRequest, LetGoRow
from ckptd.daemon.parts import Storage
from ckptd.daemon.retain.named_places import NamedPlace, NamedPlaces
from ckptd.daemon.retain.needed_bases import check_no_base
from ckptd.model.life import LifeCause
from ckptd.observe.logs import get_logger

_TOGETHER: Final = 256
"""Places in one transaction: ten thousand are 40, and none holds up the loop for long."""

_log = get_logger()


class LifeCycleAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about withdrawing and forgetting.

    Args:
        storage: Where versions are.
        standings: Finds them.
    """

    def __init__(self, storage: Storage, standings: NamedPlaces) -> None:
        self._catalog = storage.catalog
        self._standings = standings

    async def withdraw(self, request: LetGoRequest) -> LetGo:
        """Take versions off offer; publishing a directory again puts it back."""
        found = self._standings.chosen(request.checkpoint, request.version, request.place)
        chosen = [each for each in found if not each.place.is_withdrawn]
        self._standings.check_permitted(chosen, LifeCause.WITHDRAW)
        await check_no_base(self._catalog, chosen, LifeCause.WITHDRAW)
        answer = self._let_go(chosen, is_dry_run=request.is_dry_run)
        if not request.is_dry_run:
            for some in _batches(chosen):
                await self._standings.withdraw(some, LifeCause.WITHDRAW)
                for each in some:
                    self._standings.note_let_go(each.held.holding.digest)
                    _log.info("version.withdrawn", **self._standings.facts(each))
        return answer

    async def forget(self, request: LetGoRequest) -> LetGo:
        """Forget versions; their files stay."""
        chosen = self._standings.chosen(request.checkpoint, request.version, request.place)
        self._standings.check_permitted(chosen, LifeCause.FORGET)
        await check_no_base(self._catalog, chosen, LifeCause.FORGET)
        answer = self._let_go(chosen, is_dry_run=request.is_dry_run)
        if not request.is_dry_run:
            for some in _batches(chosen):
                await self._catalog.forget_all([each.place.number for each in some])
                for each in some:
                    self._standings.note_let_go(each.held.holding.digest)
                    why = "somebody asked for it"
                    _log.info("version.forgotten", **self._standings.facts(each), why=why)
        return answer

    def _let_go(self, chosen: Sequence[NamedPlace], *, is_dry_run: bool) -> LetGo:
        numbers = {each.place.number for each in chosen}
        rows = (
            LetGoRow(
                checkpoint=held.holding.checkpoint,
                version=held.holding.version,
                digest=held.holding.digest,
                size_bytes=held.holding.size_bytes,
                directory=self._standings.path(place),
                is_elsewhere=any(
                    each.is_serving and each.number not in numbers for each in held.places
                ),
            )
            for held, place in chosen
        )
        return LetGo(places=tuple(rows), is_dry_run=is_dry_run)


def _batches(chosen: Sequence[NamedPlace]) -> Iterator[Sequence[NamedPlace]]:
    for start in range(0, len(chosen), _TOGETHER):
        yield chosen[start : start + _TOGETHER]
