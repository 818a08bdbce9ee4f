"""Known peers, and everything that is known of one."""

from __future__ import annotations

import msgspec

from ckptd.model.words import Confirmation, PeerState, SourceState


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One known peer.

    Attributes:
        node: Who it says it is; ``None`` until it has answered once.
        address: ``HOST:PORT``.
        state: What is known of it.
        epoch: Which life of that node.
        versions: How many versions it holds a part of.
        rate_bytes_per_s: What it can deliver, as far as is known; 0 if never measured.
        last_error: Why it was last unreachable; empty if it answers.
    """

    node: str | None
    address: str
    state: PeerState
    epoch: int | None
    versions: int
    rate_bytes_per_s: float
    last_error: str = ""


class BadBlockRow(msgspec.Struct, frozen=True, kw_only=True):
    """One block that came with a wrong digest.

    Attributes:
        at_s: When it came, in Unix time.
        checkpoint: What it is part of.
        version: Which version of that.
        unit: Path of its unit.
        block: Which block of the unit, from 0.
        recovery: What it was fetched for.
        answer: What the peer said of it.
    """

    at_s: float
    checkpoint: str
    version: int
    unit: str
    block: int
    recovery: str
    answer: Confirmation


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, since this daemon started.

    Attributes:
        node: Who.
        address: ``HOST:PORT``; ``None`` while it does not answer.
        state: What this node does with it.
        epoch: Which life of it.
        versions: How many versions it holds a part of.
        versions_complete: How many of them it holds as a whole.
        rate_bytes_per_s: How fast it delivers; ``None``: not known yet.
        latency_s: Time to its first byte; ``None``: not known yet.
        trust: The score of its honesty; good ranges raise it to 8, bad blocks lower it.
        failures: Disappointments in a row.
        quarantines: How often it was left alone for its bad blocks, in this life of it.
        quarantined_until_s: Until when it is, in Unix time; ``None`` if it is not.
        bad_blocks: How many bad blocks it sent, in all its lives.
        evidence: The last of them, newest first, at most 50.
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
