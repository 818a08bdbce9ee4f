"""Decides which copies this node makes and gives back.

Every node asks its own :class:`Decider` every few seconds, and when something changed. All that a
decision goes by are facts that the others see as well, in nearly the same moment, so nearly the
same comes out everywhere and each node takes its part of it. Where views differ for a while, two
nodes make one copy, and later one of them gives it back; nobody ever takes a copy away before it
sees enough others that are proven.

1. Of each listed name some versions count (``kept``); who has what of them is known (``holders``).
2. What is missing is given to members, in an order that is the same everywhere (``choosing``).
3. What falls to this node and has room is fetched: of the name that is worst off first.
4. What others make needless, or newer versions, is given back (``giving_back``).

What is fetched stays decided until it is claimed. It remembers between two decisions who was chosen
since when (``memory``); after a restart it begins with nothing and comes to the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ckptd.copies.choosing import Choice, Company, company_of
from ckptd.copies.decided import Decided, GiveBack, Pull, Shortfall
from ckptd.copies.fleet import FleetVersion, FleetView, OwnCopy
from ckptd.copies.giving_back import interval_of, is_surplus
from ckptd.copies.holders import Holders, find_holders
from ckptd.copies.kept import is_replaced, kept_of
from ckptd.copies.memory import Memory
from ckptd.copies.needed_bases import NeededBases
from ckptd.copies.ordering import Rankings
from ckptd.copies.shortfalls import shortfalls
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.words import Criticality, GivenBackBecause

_Members = tuple[NodeId, ...]


@dataclass(slots=True)
class _Name:
    """What is found of one checkpoint.

    Attributes:
        company: Who keeps copies of it.
        keep: How many whole versions are kept.
        kept: Which versions count.
        older: Which do not.
        choices: Who is to have what of those that count.
    """

    company: Company
    keep: int
    kept: list[Holders]
    older: list[Holders]
    choices: list[Choice] = field(default_factory=list)

    @property
    def safety(self) -> int:
        """How many copies the version has that has most."""
        return max((len(each.there) for each in self.kept), default=0)


class Decider:
    """Decides for one node, from what that node knows."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._rankings = Rankings()

    def decide(self, view: FleetView, *, now: int) -> Decided:
        """Decide what this node fetches and gives back.

        Args:
            view: What it knows.
            now: The moment, in nanoseconds; never earlier than the last one.

        Cost: O(claims), and for each version that lacks copies O(copies²), or O(members) where no
            zone without a copy has anybody able.
        """
        if not view.all_asked:
            return Decided()
        self._memory.begin()
        self._rankings.begin()
        names = list(self._names(view, now))
        pulls, refused, is_full = self._pulls(view, names, now)
        short: list[Shortfall] = []
        for name in names:
            for choice in name.choices:
                is_refused = choice.holders.version.digest in refused
                found = self._without_own(choice, view, now) if is_refused else choice
                short += shortfalls(found)
        return Decided(
            pulls, tuple(self._give_back(view, names, now, is_full=is_full)), tuple(short), is_full
        )

    def _names(self, view: FleetView, now: int) -> Iterator[_Name]:
        """Find out who has what, and choose who is to have what is missing."""
        by_name: defaultdict[CheckpointName, list[FleetVersion]] = defaultdict(list)
        for version in view.versions:
            by_name[version.checkpoint].append(version)
        companies: dict[_Members, Company] = {}
        for checkpoint, versions in sorted(by_name.items()):
            rule = view.rule_of(checkpoint)
            if rule is None:
                continue
            members = view.members.get(checkpoint, ())
            company = companies.get(members)
            if company is None:
                company = companies[members] = company_of(members, view)
            series = [find_holders(each, rule.counts, view, self._memory, now) for each in versions]
            kept = kept_of(series, rule.keep)
            older = [each for each in series if each not in kept]
            found = _Name(company, rule.keep, kept, older)
            for holders in kept:
                choice = Choice(holders, company, view, self._rankings, self._memory, now)
                choice.make()
                found.choices.append(choice)
            yield found

    def _pulls(
        self, view: FleetView, names: Sequence[_Name], now: int
    ) -> tuple[tuple[Pull, ...], frozenset[Digest], bool]:
        """Return what falls to this node and has room, what has none, and whether it is full."""
        wanted = [
            (name, choice) for name in names for choice in name.choices if view.own in choice.chosen
        ]
        wanted.sort(key=lambda each: _precedence(each[0], each[1], view.own))
        left = max(view.room.left_bytes, 0)
        since = self._memory.full_since_ns
        was_full = since is not None and now < since + view.grace_ns
        pulls: list[Pull] = []
        refused: set[Digest] = set()
        for _, choice in wanted:
            version = choice.holders.version
            chosen = choice.chosen[view.own]
            size_bytes = version.size_down_to(chosen.least)
            is_begun = view.own in choice.holders.begun
            needed = max(size_bytes - version.held_bytes(view.own), 0)
            if needed > left or (was_full and not is_begun):
                refused.add(version.digest)
                if needed > left and size_bytes <= view.room.quota_bytes:
                    self._memory.full_since_ns = now
                continue
            left -= needed
            pulls.append(
                Pull(version.checkpoint, version.version, version.digest, chosen.least, chosen.why)
            )
        is_full = was_full or self._memory.full_since_ns == now
        return tuple(pulls), frozenset(refused), is_full

    def _without_own(self, choice: Choice, view: FleetView, now: int) -> Choice:
        """Choose again, without this node, which has no room."""
        again = Choice(
            choice.holders,
            choice.company,
            view,
            self._rankings,
            self._memory,
            now,
            refused=frozenset({view.own}),
        )
        again.make()
        return again

    def _give_back(
        self, view: FleetView, names: Sequence[_Name], now: int, *, is_full: bool
    ) -> Iterator[GiveBack]:
        """Yield what is too much, and what is too old."""
        own = {each.digest: each for each in view.own_copies if each.is_copy}
        for name in names:
            for holders in name.kept:
                copy = own.get(holders.version.digest)
                if copy and is_surplus(holders, name.company, view, self._memory, now):
                    yield _given_back(copy, GivenBackBecause.SURPLUS)
            whole = [each for each in name.kept if each.is_whole]
            needed = NeededBases(name.kept, name.older)
            for holders in name.older:
                if holders.version in needed:
                    continue
                copy = own.get(holders.version.digest)
                newer = [each for each in whole if each.version.version > holders.version.version]
                if copy is None or len({each.version.version for each in newer}) < name.keep:
                    continue
                if not is_replaced(holders, newer, name.company, is_full=is_full):
                    continue
                since = self._memory.surplus_of(holders.version.digest, _held_by(newer), now)
                if now >= since + interval_of(view):
                    yield _given_back(copy, GivenBackBecause.OLD)


def _held_by(newer: Sequence[Holders]) -> frozenset[tuple[NodeId, Criticality]]:
    """Return who has anything newer; while that changes, news may be on their way."""
    return frozenset(each for holders in newer for each in holders.there.items())


def _given_back(copy: OwnCopy, why: GivenBackBecause) -> GiveBack:
    return GiveBack(copy.checkpoint, copy.version, copy.digest, why)


def _precedence(name: _Name, choice: Choice, own: NodeId) -> tuple[int, int, bool, int, str]:
    """Return what is fetched first: of the name that is worst off what is nearest to its end."""
    holders = choice.holders
    version = holders.version
    is_begun = own in holders.begun
    return (name.safety, -len(holders.there), not is_begun, -version.version, version.checkpoint)
