"""Copies that are given back as the daemon does it: off offer, holders asked, then removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ckptd.copies.decided import GiveBack
from ckptd.model.ids import Digest, NodeId
from ckptd.sim.fleet.auditing import Audits
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Member

MayGo = Callable[[Member, Digest, Mapping[Digest, frozenset[NodeId]]], bool]
"""Tells whether a node may remove a version, if no others have it, and newer ones, than these."""


class GivingBack:
    """Carries out what nodes decided to give back.

    Args:
        ground: What it happens on.
        audits: Verifies a block of each holder that is asked.
        may_go: Decides once more, by the answers.
    """

    def __init__(self, ground: Ground, audits: Audits, may_go: MayGo) -> None:
        self._ground = ground
        self._audits = audits
        self._may_go = may_go
        self._rng = ground.world.stream("giving back")

    def carry_out(self, member: Member, given: Iterable[GiveBack]) -> None:
        """Take what is decided off offer, and ask its holders."""
        for each in given:
            if each.digest in member.off_offer:
                continue
            member.off_offer[each.digest] = None
            self._ground.announce(member)
            asked_ns = self._rng.randint(*self._ground.paces.asked_ns)
            self._ground.world.after(asked_ns, self._ask, member, each.digest, member.life)

    def _ask(self, member: Member, digest: Digest, life: int) -> None:
        """Remove it if those who still say and show that they have it are enough."""
        ground = self._ground
        if life != member.life or not member.is_up or digest not in member.off_offer:
            return
        removed = ground.known[digest]
        concerned = [
            each.digest
            for each in ground.known.values()
            if each.checkpoint == removed.checkpoint and each.version >= removed.version
        ]
        answered = {each: frozenset(self._asked(member, each)) for each in concerned}
        held = member.shelf.get(digest)
        may_go = self._may_go(member, digest, answered)
        if may_go and held is not None:
            ground.tell(member, f"gives back {held.saved.text}")
            for watch in ground.watches:
                watch.gave_back(member, held.saved)
            del member.shelf[digest]
            for watch in ground.watches:
                watch.removed(member, held.saved)
        if may_go:
            member.pretended.pop(digest, None)
        del member.off_offer[digest]
        ground.announce(member)
        ground.stir(member)

    def _asked(self, member: Member, digest: Digest) -> Iterator[NodeId]:
        """Yield who still says and shows that he has a version."""
        for node, heard in list(member.heard.items()):
            is_claimed = heard.said.claims.get(digest) is not None
            if is_claimed and self._audits.prove(member, self._ground.members[node], digest):
                yield node
