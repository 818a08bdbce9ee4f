"""Why a version stays or goes, as a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ckptd.daemon.retain.outcomes import Outcome
from ckptd.model.quantities import format_duration
from ckptd.model.retention import RetentionRule
from ckptd.model.words import GoesBecause, KeptBecause

_KEPT: Final[Mapping[KeptBecause, str]] = {
    KeptBecause.ROOM: "there is room: only min_free lets it go",
    KeptBecause.ACTIVE: "it is active",
    KeptBecause.WITHDRAWN: "somebody withdrew it: 'ckptctl remove' removes it",
    KeptBecause.UNSEEN: "it, or a later one that may be a delta on it, was not looked at yet",
    KeptBecause.CHANGED: "files of it were changed or are gone",
    KeptBecause.SHARED: "another version has files of its own there, or the same",
    KeptBecause.BASE: "a version that stays is a delta on it",
    KeptBecause.READ: "somebody needed a unit of it a short while ago",
    KeptBecause.RECOVERED_HERE: "a recovery on this node uses it",
    KeptBecause.RECOVERED_ELSEWHERE: "a peer recovers it, or asked for it a short while ago",
    KeptBecause.REFUSED: "the system refused to remove it",
}


def why_kept(kept: KeptBecause) -> str:
    """Say why something stays that was to go, without a word of the rule that wanted it to."""
    few = "too few others say that they have it, now that they are asked"
    return few if kept is KeptBecause.COPIES else _KEPT.get(kept, kept.value)


def reason_of(outcome: Outcome, rule: RetentionRule) -> str:
    """Say why a version stays or goes.

    Args:
        outcome: What became of it.
        rule: What counts for it.
    """
    standing, newest = outcome.surveyed.standing, rule.newest or 1
    nodes = "node has" if standing.copies_elsewhere == 1 else "nodes have"
    if outcome.goes is GoesBecause.OLD:
        return f"not among the newest {newest}{_nor_every(rule)}"
    if outcome.goes is GoesBecause.ROOM:
        return f"room is short, and it is not among the newest {newest}"
    by_rule = {
        KeptBecause.NEWEST: f"one of the newest {newest}",
        KeptBecause.EVERY: f"one for every {_span(rule)}, while there is room",
        KeptBecause.KIND: f'remove = "{rule.kind.value}" does not name its kind',
        KeptBecause.COPIES: f"{standing.copies_elsewhere} other {nodes} all of it, by what they "
        f"said last; copies = {rule.copies} must say so when they are asked",
    }
    assert outcome.kept is not None, "a version stays or goes"
    return by_rule.get(outcome.kept) or outcome.why or _KEPT[outcome.kept]


def _nor_every(rule: RetentionRule) -> str:
    return "" if rule.every_s is None else f", nor one for every {_span(rule)}"


def _span(rule: RetentionRule) -> str:
    return format_duration(float(rule.every_s or 0))
