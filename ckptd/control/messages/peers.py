"""Known peers, and everything that is known of one."""

from __future__ import annotations

import msgspec

from ckptd.model.words import Confirmation, PeerState, RateOrigin, SourceState


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One known peer.

    Attributes:
        node: Its node id, also while it does not answer: the last one that did, or the one that
            must; ``None`` if neither is known.
        address: As configured; with the IP address where a name stands for several peers.
        state: What is known about it.
        epoch: Which start of that node.
        versions: How many versions it holds a part of.
        rate_bytes_per_s: How fast it delivers; 0 if that was never measured.
        last_error: Why it was last unreachable; empty if it answers.
        rate_age_s: How long ago it was so fast, perhaps before a restart; ``None``: never.
        rate_from: What measured that: a recovery or ``doctor``.
        trouble: Why nothing could be had of it when it was asked for bytes last, though it answers;
            empty: nothing is known against it.
        silent: Which of its addresses do not answer, and why, while others do; else empty.
    """

    node: str | None
    address: str
    state: PeerState
    epoch: int | None
    versions: int
    rate_bytes_per_s: float
    last_error: str = ""
    rate_age_s: float | None = None
    rate_from: RateOrigin | None = None
    trouble: str = ""
    silent: str = ""


class PathRow(msgspec.Struct, frozen=True, kw_only=True):
    """One path to a peer.

    Attributes:
        path: The node id for the first path to it, ``NODE via ADDRESS`` for each further one.
        address: ``HOST:PORT``; ``None`` while it does not answer there.
        state: What it does for this node on this path.
        rate_bytes_per_s: How fast it delivers on it; ``None``: not known yet.
        latency_s: Time to its first byte; ``None``: not known yet.
    """

    path: str
    address: str | None
    state: SourceState
    rate_bytes_per_s: float | None
    latency_s: float | None


class BadBlockRow(msgspec.Struct, frozen=True, kw_only=True):
    """One block that came with a wrong digest.

    Attributes:
        at_s: When it came, in Unix time.
        checkpoint: The checkpoint that it belongs to.
        version: Version of the checkpoint.
        unit: Path of its unit.
        block: Which block of the unit, from 0.
        recovery: Id of the recovery that fetched it; `audit`: none wanted it.
        answer: What the peer answered when it was asked about the block.
    """

    at_s: float
    checkpoint: str
    version: int
    unit: str
    block: int
    recovery: str
    answer: Confirmation


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about one peer, since this daemon started; its rate also before.

    Where several paths lead to it, what is said of a path is said of the fastest live one.

    Attributes:
        node: Its node id.
        address: ``HOST:PORT``; ``None`` while it does not answer.
        state: What it does for this node.
        epoch: Which start of that node.
        versions: How many versions it holds a part of.
        versions_complete: How many of them it holds with all required units.
        rate_bytes_per_s: How fast it delivers; ``None``: not known yet.
        latency_s: Time to its first byte; ``None``: not known yet.
        trust: A score; good ranges raise it to at most 8, bad blocks lower it.
        failures: Failures in a row.
        quarantines: How often it was quarantined for bad blocks, over all its lives.
        quarantined_until_s: End of the quarantine in Unix time; ``None`` if there is none.
        bad_blocks: How many bad blocks it sent, in all its epochs.
        evidence: The last bad blocks, newest first, at most 50.
        rate_age_s: How long ago it was so fast.
        rate_from: What measured that: a recovery or ``doctor``.
        paths: All paths to it, by name.
        trouble: Why nothing came when it was asked for bytes last; empty: something did.
    """

    node: str
    address: str | None
    state: SourceState
    epoch: int
    versions: int
    versions_complete: int
    rate_bytes_per_s: float | None
    latency_s: float | None
    trust: int
    failures: int
    quarantines: int
    quarantined_until_s: float | None
    bad_blocks: int
    evidence: tuple[BadBlockRow, ...]
    rate_age_s: float | None = None
    rate_from: RateOrigin | None = None
    paths: tuple[PathRow, ...] = ()
    trouble: str = ""
