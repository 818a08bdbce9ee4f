"""Copies on their way: which source sends, how fast, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.copies.decided import Pull
from ckptd.limits import MIB, SECOND
from ckptd.model.ids import Digest
from ckptd.model.words import Criticality
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Held, Member, Pulling
from ckptd.sim.fleet.plan import MINUTE, Lie

AT_ONCE_MAX: Final = 2
_PART_NS: Final = 10 * SECOND
_AGAIN_NS: Final = 5 * SECOND
_DISTRUST_NS: Final = 5 * MINUTE
_BAD_BYTES: Final = 4 * MIB
"""What a source of bad blocks can send before it is not asked any more."""
_DROPPED_AFTER_NS: Final = 3 * MINUTE


class Pulls:
    """Carries out what nodes decided to fetch.

    Args:
        ground: What it happens on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._rng = ground.world.stream("sources")

    def carry_out(self, member: Member, pulls: Iterable[Pull]) -> None:
        """Begin what is decided, at most two at once, one of a name; end what is so no more."""
        wanted = {pull.digest: pull for pull in pulls}
        for digest in [each for each in member.pulls if each not in wanted]:
            del member.pulls[digest]
            self._ground.announce(member)
        for pull in wanted.values():
            running = member.pulls.values()
            if len(running) >= AT_ONCE_MAX:
                return
            if any(each.saved.checkpoint == pull.checkpoint for each in running):
                continue
            self._begin(member, pull)

    def go_on(self, member: Member) -> None:
        """Go on with what was under way when a daemon ended."""
        for pulling in list(member.pulls.values()):
            pulling.life = member.life
            self._fetch(member, pulling)

    def _begin(self, member: Member, pull: Pull) -> None:
        ground, saved = self._ground, self._ground.known[pull.digest]
        held = member.shelf.get(pull.digest)
        has = held.least if held is not None else None
        wanted = {
            each: size
            for each, size in saved.sizes.items()
            if each <= pull.least and (has is None or each > has)
        }
        pulling = Pulling(saved, pull.least, wanted, life=member.life)
        member.pulls[pull.digest] = pulling
        ground.tell(member, f"pulls {saved.text} to {pull.least.label}")
        for watch in ground.watches:
            watch.pulling(member, pulling)
        ground.announce(member)
        self._fetch(member, pulling)

    def _is_current(self, member: Member, pulling: Pulling) -> bool:
        is_known = member.pulls.get(pulling.saved.digest) is pulling
        return is_known and member.is_up and pulling.life == member.life

    def _fetch(self, member: Member, pulling: Pulling) -> None:
        """Ask a source for the most urgent bytes that are missing."""
        if not self._is_current(member, pulling):
            return
        ground = self._ground
        missing = next((each for each, count in pulling.wanted.items() if count), None)
        if missing is None:
            self._complete(member, pulling)
            return
        source = self._choose(member, pulling.saved.digest, missing)
        if source is None:
            ground.world.after(_AGAIN_NS, self._fetch, member, pulling)
            return
        if source.plan.lie in {Lie.CLAIMS, Lie.DROPS} and not source.has(
            pulling.saved.digest, missing
        ):
            member.distrusted[source.node] = ground.now + _DISTRUST_NS
            self._count(member, _BAD_BYTES)
            ground.world.after(SECOND, self._fetch, member, pulling)
            return
        source.uploads += 1
        rate = min(
            member.plan.rate_bytes_per_s // max(len(member.pulls), 1),
            source.plan.rate_bytes_per_s // source.uploads,
        )
        part_ns = _PART_NS if pulling.is_begun else SECOND
        count = min(pulling.wanted[missing], max(rate * part_ns // SECOND, 1))
        took_ns = max(count * SECOND // max(rate, 1), 1)
        ground.world.after(took_ns, self._arrive, member, pulling, source, missing, count)

    def _arrive(
        self,
        member: Member,
        pulling: Pulling,
        source: Member,
        criticality: Criticality,
        count: int,
    ) -> None:
        source.uploads -= 1
        if not self._is_current(member, pulling):
            return
        is_sent = self._ground.reaches(member, source)
        if is_sent and source.has(pulling.saved.digest, criticality):
            pulling.wanted[criticality] -= count
            pulling.is_begun = True
            self._count(member, count)
            self._ground.announce(member)
        self._fetch(member, pulling)

    def _count(self, member: Member, count: int) -> None:
        for watch in self._ground.watches:
            watch.moved(member, count)

    def _choose(self, member: Member, digest: Digest, criticality: Criticality) -> Member | None:
        """Draw one of those who claim it; who is away says nothing and is found out soon."""
        ground, found = self._ground, []
        for node, heard in member.heard.items():
            least = heard.said.claims.get(digest)
            if least is None or least < criticality or heard.lost_since_ns is not None:
                continue
            other = ground.members[node]
            is_liar = other.plan.lie in {Lie.CLAIMS, Lie.DROPS}
            is_there = other.has(digest, criticality) or is_liar
            is_trusted = member.distrusted.get(node, 0) <= ground.now
            if is_trusted and is_there and ground.reaches(member, other):
                found.append(other)
        return self._rng.choice(found) if found else None

    def _complete(self, member: Member, pulling: Pulling) -> None:
        ground, saved = self._ground, pulling.saved
        del member.pulls[saved.digest]
        held = member.shelf.get(saved.digest)
        is_copy = held is None or held.is_copy
        member.shelf[saved.digest] = Held(saved, pulling.least, is_copy)
        ground.tell(member, f"has {saved.text} to {pulling.least.label}")
        for watch in ground.watches:
            watch.pulled(member, saved, pulling.least)
        if member.plan.lie is Lie.DROPS:
            ground.world.after(_DROPPED_AFTER_NS, self._drop, member, saved.digest)
        ground.announce(member)
        ground.stir(member)

    def _drop(self, member: Member, digest: Digest) -> None:
        """Remove a copy, and go on to claim it."""
        held = member.shelf.get(digest)
        if held is not None and held.is_copy and held.least is not None:
            del member.shelf[digest]
            member.pretended[digest] = held.least
            for watch in self._ground.watches:
                watch.lost(member, held.saved)
