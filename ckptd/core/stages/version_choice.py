"""Which version a recovery is for, judged by what peers say they hold, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ckptd.core.report.choice import ExplainedChoice, PassedOver
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version

PASSED_OVER_SHOWN: Final = 5
"""How many versions an explanation names that were not chosen."""

_Key = tuple[Version, Digest]


@dataclass(slots=True)
class _Standing:
    """What all holders together have of one version."""

    block_count: int
    holder_count: int = 0
    reachable: BlockSet = field(default_factory=BlockSet)
    optional: BlockSet = field(default_factory=BlockSet)

    @property
    def missing_count(self) -> int:
        """Blocks of required units that nobody has."""
        dispensable = self.reachable | self.optional if self.optional else self.reachable
        return max(self.block_count - len(dispensable), 0)

    @property
    def lacking(self) -> str:
        """How much of it nobody has, for people; empty if that is nothing."""
        if not self.missing_count:
            return ""
        if self.missing_count == self.block_count:
            return "any of it"
        return f"{max(self.missing_count * 100 // self.block_count, 1)} % of it"

    @property
    def lacks_optional(self) -> bool:
        """Nobody has some block, which may be missing."""
        return len(self.reachable) < self.block_count


def choose_version(
    holdings: Iterable[Holding],
    checkpoint: CheckpointName,
    wanted: Version | None,
    not_below: Version | None = None,
) -> tuple[Version, Digest] | None:
    """Choose a version and its identity.

    Args:
        holdings: What all live peers hold.
        checkpoint: Of which checkpoint.
        wanted: A version somebody named; ``None`` for the newest of which every block is
            reachable.
        not_below: Without ``wanted``: no older version than this is taken.

    Returns:
        Version and digest, or ``None``: nothing to choose yet. A named version is taken even
        if blocks are missing, since their holders may come back. Where peers disagree about
        what a version is, one that can be completed goes first, then the one with more
        holders, then the lower digest, so that all nodes choose alike.
    """
    return _choose(_standings(holdings, checkpoint), wanted, not_below)


def contents_of_choice(
    holdings: Iterable[Holding],
    checkpoint: CheckpointName,
    wanted: Version | None,
    not_below: Version | None = None,
    *,
    is_whole: bool = False,
) -> tuple[tuple[Version, Digest], ...]:
    """Return everything that goes by the version that :func:`choose_version` chooses.

    Args:
        holdings: What all live peers hold.
        checkpoint: Of which checkpoint.
        wanted: A version somebody named; ``None`` for the newest.
        not_below: Without ``wanted``: no older version than this is taken.
        is_whole: Only what can be completed.

    Returns:
        Version and digest of each content that is as good, that of ``choose_version`` first.
        If some can be completed, others are not among them.
    """
    standings = _standings(holdings, checkpoint)
    candidates = _candidates(standings, wanted, not_below)
    if is_whole:
        candidates = {key for key in candidates if not standings[key].missing_count}
    newest = max((version for version, _ in candidates), default=None)
    contents = (key for key in candidates if key[0] == newest)
    return tuple(sorted(contents, key=lambda key: (-standings[key].holder_count, key[1])))


def explain_choice(  # noqa: PLR0913 (what was known, what was chosen, and why)
    holdings: Iterable[Holding],
    checkpoint: CheckpointName,
    wanted: Version | None,
    not_below: Version | None = None,
    *,
    settled: tuple[Version, Digest] | None = None,
    why: str = "",
    why_discounted: Callable[[Digest], str] = lambda _digest: "",
) -> ExplainedChoice:
    """Choose as :func:`choose_version` does, and say why.

    Args:
        holdings: What all live peers hold.
        checkpoint: Of which checkpoint.
        wanted: A version somebody named; ``None`` for the newest.
        not_below: Without ``wanted``: no older version than this is taken.
        settled: What was chosen already.
        why: Why that content, and not another one of its version; empty if there was no other.
        why_discounted: Says why nothing that is claimed of a content counts; empty: it does.
    """
    standings = _standings(holdings, checkpoint)
    chosen = settled or _choose(standings, wanted, not_below)
    refusal = (
        None if chosen else explain_rollback(checkpoint, _choose(standings, wanted), not_below)
    )
    passed_over = sorted(
        (key for key in standings if key != chosen), key=lambda key: (-key[0], key[1])
    )
    reasons = (refusal or _why_chosen(standings, chosen, wanted), why)
    return ExplainedChoice(
        chosen,
        "; ".join(reason for reason in reasons if reason),
        tuple(
            PassedOver(
                *key, why_discounted(key[1]) or _why_not(standings, key, chosen, wanted, why)
            )
            for key in passed_over[:PASSED_OVER_SHOWN]
        ),
    )


def explain_rollback(
    checkpoint: CheckpointName, offered: tuple[Version, Digest] | None, not_below: Version | None
) -> str | None:
    """Say why a version that could be had is refused, and how to accept it.

    Args:
        checkpoint: Of which checkpoint.
        offered: What would be chosen if this node never had a newer one.
        not_below: The newest that it ever had.

    Returns:
        The sentence, or ``None`` if ``offered`` is no rollback.
    """
    if offered is None or not_below is None or offered[0] >= not_below:
        return None
    return (
        f"version {not_below} of {checkpoint} was on this node before, and the newest that can "
        f"be had now is {offered[0]}. To accept that: ckptctl recover {checkpoint}@{offered[0]}"
    )


def _standings(holdings: Iterable[Holding], checkpoint: CheckpointName) -> dict[_Key, _Standing]:
    """Add up who has what of each version of a checkpoint."""
    standings: dict[_Key, _Standing] = {}
    for holding in holdings:
        if holding.checkpoint != checkpoint:
            continue
        key = (holding.version, holding.digest)
        standing = standings.setdefault(key, _Standing(holding.block_count))
        standing.block_count = holding.block_count
        standing.holder_count += 1
        if not standing.reachable:
            standing.reachable = holding.blocks
        elif standing.lacks_optional:
            standing.reachable |= holding.blocks
        if holding.optional:
            standing.optional |= holding.optional
    return standings


def _choose(
    standings: dict[_Key, _Standing], wanted: Version | None, not_below: Version | None = None
) -> _Key | None:
    return min(
        _candidates(standings, wanted, not_below),
        key=lambda key: (-key[0], -standings[key].holder_count, key[1]),
        default=None,
    )


def _candidates(
    standings: dict[_Key, _Standing], wanted: Version | None, not_below: Version | None
) -> set[_Key]:
    """Return what may be chosen: what can be completed, or else whatever was named."""
    if wanted is None:
        eligible = {key for key in standings if not_below is None or key[0] >= not_below}
    else:
        eligible = {key for key in standings if key[0] == wanted}
    complete = {key for key in eligible if not standings[key].missing_count}
    return complete or (eligible if wanted is not None else set())


def _why_chosen(
    standings: dict[_Key, _Standing], chosen: _Key | None, wanted: Version | None
) -> str:
    if chosen is None:
        if wanted is not None:
            return f"nobody has version {wanted}"
        return "no version has every block reachable" if standings else "nobody has any version"
    if wanted is None:
        lacks_optional = chosen in standings and standings[chosen].lacks_optional
        kind = "every required block" if lacks_optional else "every block"
        return f"newest of which {kind} is reachable"
    lacking = standings[chosen].lacking if chosen in standings else ""
    return f"named, though nobody has {lacking}" if lacking else "named"


def _why_not(  # noqa: PLR0911 (one for each reason)
    standings: dict[_Key, _Standing],
    key: _Key,
    chosen: _Key | None,
    wanted: Version | None,
    why: str,
) -> str:
    if wanted not in {None, key[0]}:
        return "not the one that was named"
    standing = standings[key]
    if standing.missing_count:
        return f"nobody has {standing.lacking}"
    if chosen is None:
        return "older than one that was on this node before"
    if key[0] != chosen[0]:
        return "older" if key[0] < chosen[0] else "refused, or only peers in quarantine have it"
    if why or chosen not in standings:
        return "other content under the same version"
    if standing.holder_count < standings[chosen].holder_count:
        return "other content under the same version, with fewer holders"
    return "other content under the same version, with a higher digest"
