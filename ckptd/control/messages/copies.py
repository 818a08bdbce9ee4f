"""Which copies there are of what this node lists in ``[copies]``, and what is short."""

from __future__ import annotations

import msgspec

from ckptd.errors import ExitCode
from ckptd.model.words import CopiedBecause, CopiesState, GivenBackBecause, ShortBecause


class CopiesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Show copies.

    Attributes:
        name: Only of this checkpoint or job; ``None``: of all.
    """

    name: str | None = None


class CopyHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A node that says it has some of a version, whether a job placed it there or it is a copy.

    Attributes:
        node: Which node.
        zone: Where it is, by this node's configuration or by its certificate; empty: not known.
        least: The least urgent class of which it has all required units, with those that are more
            urgent; ``None``: not even all of the critical ones.
        is_proven: It is this node, or a block of it was verified within the last day.
        is_live: It answers. What a node that does not answer had is not known.
    """

    node: str
    zone: str
    least: str | None
    is_proven: bool
    is_live: bool


class CopyCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many copies there are of the units of a class.

    Attributes:
        criticality: Of which class: ``critical``, ``normal`` or ``deferred``.
        asked: How many there should be.
        proven: On how many nodes that answer they are, proven.
        claimed: How many nodes that answer say that they have them, with those.
        zones: In how many zones those are that are proven, as far as zones are known.
        unknown_zones: Of how many of those the zone is not known.
        state: How that compares with what is asked.
        because: What is the matter; ``None``: nothing.
        why: The same as a sentence for people; empty likewise.
        until_s: When something else is done about it, in so many seconds; ``None``: not by time
            alone.
    """

    criticality: str
    asked: int
    proven: int
    claimed: int
    zones: int
    unknown_zones: int
    state: CopiesState
    because: ShortBecause | None = None
    why: str = ""
    until_s: float | None = None


class CopiedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of which copies are asked.

    Attributes:
        checkpoint: Of what.
        version: Which one.
        digest: Which content.
        size_bytes: The bytes of its required units.
        state: The worst of its classes.
        counts: Its classes that have units, the most urgent first.
        holders: Who says that it has some of it.
        fetched_because: Why this node fetches it, or more of it; ``None``: it does not.
        given_back_because: Why this node gives its copy back; ``None``: it does not.
        trouble: Why that did not succeed here so far; empty: it did, or there was nothing to do.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    state: CopiesState
    counts: tuple[CopyCount, ...]
    holders: tuple[CopyHolder, ...]
    fetched_because: CopiedBecause | None = None
    given_back_because: GivenBackBecause | None = None
    trouble: str = ""


class CopyMember(msgspec.Struct, frozen=True, kw_only=True):
    """A node that keeps copies of something that this node lists.

    Attributes:
        node: Which node.
        zone: Where it is, by this node's configuration or by its certificate; empty: not known.
        is_live: It answers.
        lost_s: For how long it has not; ``None``: it does, or never did.
        is_full: It says that it takes no more copies.
        is_blamed: It is not asked for copies: what it claimed was not there, or it is not trusted.
    """

    node: str
    zone: str
    is_live: bool
    lost_s: float | None
    is_full: bool
    is_blamed: bool


class CopiesView(msgspec.Struct, frozen=True, kw_only=True):
    """Copies of what this node lists, as this node sees them.

    Attributes:
        names: Which patterns it lists; none: it keeps no copies.
        zone: Where this node is; empty: not known.
        root: The root for copies; ``None`` without names.
        quota_bytes: How much copies may take there; likewise.
        used_bytes: How much they take, with what came so far of those that are being fetched.
        is_full: This node takes no more copies.
        is_settled: Every peer was asked once since the start; before that, what looks missing may
            only not be known yet.
        age_s: How long ago that was looked at; ``None``: it was not looked at yet.
        obstacle: What keeps this node from looking at it again; empty: nothing does.
        checkpoints: How many checkpoints there are of which copies are asked.
        whole: Of how many versions all copies are there, and proven.
        unproven: … all copies are claimed, but not proven yet.
        too_close: … they are in fewer zones than is possible.
        under_replicated: … there are fewer than asked.
        members: Who keeps copies of something that this node lists.
        versions: The versions, the worst first.
        left_out: How many more there are.
        conflicts: Versions of which nobody knows which of several contents is meant, so that no
            copies are made or counted, as ``NAME@VERSION``.
        saved_bytes: How much less they take because units are kept compressed.
    """

    names: tuple[str, ...]
    zone: str
    root: str | None
    quota_bytes: int | None
    used_bytes: int
    is_full: bool
    is_settled: bool
    age_s: float | None
    obstacle: str
    checkpoints: int
    whole: int
    unproven: int
    too_close: int
    under_replicated: int
    members: tuple[CopyMember, ...]
    versions: tuple[CopiedVersion, ...]
    left_out: int = 0
    conflicts: tuple[str, ...] = ()
    saved_bytes: int = 0


def exit_code_of_copies(view: CopiesView) -> ExitCode:
    """Return how a check of copies ends: well only if all that is asked is known to be there.

    Where nothing is known of what is listed the names may be wrong: that is no safety.
    """
    if not view.names or view.age_s is None or not view.is_settled or view.obstacle:
        return ExitCode.FAILED
    short = view.unproven + view.too_close + view.under_replicated + len(view.conflicts)
    if not (short or view.whole):
        return ExitCode.MISSING
    return ExitCode.PARTIAL if short else ExitCode.DONE
