"""Of several contents under one name and version none is guessed, and never two are mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ckptd.core.effects import (
    ChooseVersion,
    Effect,
    EndRecovery,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.options import RivalOptions
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import Digest, PathId
from ckptd.model.words import FailureCause, OnConflict, RivalVerdict
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.world.layouts import SavedVersion


class Contents(Check):
    """A recovery takes the content that was asked for, or the only one that is genuine.

    What is fetched, prepared and placed is of one content, and what nobody has is never chosen
    where something else can be had.

    Args:
        real: All that nodes hold, by digest; whatever else they claim is invented.
        options: What is done about several contents.
    """

    def __init__(self, real: Mapping[Digest, SavedVersion], options: RivalOptions) -> None:
        self._real = real
        self._counts_holders = options.on_conflict is OnConflict.MOST_HOLDERS

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is chosen, and whether orders keep to it."""
        match effect:
            case ChooseVersion() if book.recoveries[effect.recovery].request.job is None:
                self._check_choice(book, effect)
            case PrepareStaging() | FetchRange():
                if effect.digest != book.recoveries[effect.recovery].chosen:
                    raise CheckFailed(book, f"{effect.recovery} takes {effect.digest} as well")
            case PlaceVersion():
                recovery = book.recoveries[effect.recovery]
                if recovery.known_version().digest != recovery.chosen:
                    raise CheckFailed(book, f"{effect.recovery} places what was not chosen")
                if recovery.request.job is None and recovery.chosen not in self._real:
                    raise CheckFailed(book, f"{effect.recovery} places what nobody has")
            case EndRecovery(cause=FailureCause.CONFLICT):
                listed = {rival.digest for rival in effect.rivals}
                if len(listed) <= 1 or not listed <= set(self._real):
                    raise CheckFailed(book, f"{effect.recovery} ends for {sorted(listed)}")
            case _:
                pass

    def _check_choice(self, book: NodeBook, choice: ChooseVersion) -> None:
        request = book.recoveries[choice.recovery].request
        examined = book.examined.get(choice.recovery, {})
        whole = _whole_contents(book, choice, examined)
        whole -= self._inventions_refuted(book, choice)
        if not choice.digest.startswith(request.digest_prefix):
            raise CheckFailed(book, f"{choice} is not what was asked for")
        if request.from_node is not None:
            if choice.digest not in book.said.get(request.from_node, {}):
                raise CheckFailed(book, f"{choice} is not what {request.from_node} has")
            return
        if choice.digest in {held.digest for held in request.own}:
            return  # what this node has goes first
        if request.digest_prefix or len(whole) <= 1 or choice.digest not in whole:
            return
        seen = {
            digest for (digest, _), verdict in examined.items() if verdict is RivalVerdict.GENUINE
        }
        if choice.digest not in seen:
            raise CheckFailed(book, f"{choice} is one of several, and nobody was seen to have it")
        may_count = request.is_background and self._counts_holders
        if len(seen & whole) > 1 and not may_count:
            raise CheckFailed(book, f"{choice} is a guess")

    def _inventions_refuted(self, book: NodeBook, choice: ChooseVersion) -> set[Digest]:
        """Return what nobody has and was not chosen: only those claim it who had their chances."""
        state = book.node.scheduler.inspect()
        claimants = state.recoveries[choice.recovery].search.claimants
        origins = {state.peers[source].origin for source in book.said if source in state.peers}
        had_chances = {
            origin for origin in origins if origin in claimants and claimants[origin].failed
        }
        return {
            digest
            for source, holdings in book.said.items()
            if source in state.peers and state.peers[source].origin in had_chances
            for digest in holdings
            if digest not in self._real and digest != choice.digest
        }


def _whole_contents(
    book: NodeBook, choice: ChooseVersion, examined: Mapping[tuple[Digest, PathId], RivalVerdict]
) -> set[Digest]:
    """Return the contents of a version that live peers claim as a whole, as far as trusted.

    What a peer has a bad block of it does not complete.
    """
    peers = book.node.scheduler.inspect().peers
    claimed: dict[Digest, list[BlockSet]] = defaultdict(list)
    counts: dict[Digest, int] = {}
    for source, holdings in book.said.items():
        if source in book.lost or peers[source].standing.quarantined_until_ns > book.node.now:
            continue
        for holding in holdings.values():
            is_bad = examined.get((holding.digest, source)) is RivalVerdict.BAD_BLOCK
            about = (holding.checkpoint, holding.version)
            if about == (choice.checkpoint, choice.version) and not is_bad:
                claimed[holding.digest].append(holding.blocks)
                counts[holding.digest] = holding.block_count
    return {digest for digest, blocks in claimed.items() if len(union(blocks)) == counts[digest]}
