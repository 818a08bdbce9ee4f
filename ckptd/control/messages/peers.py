"""Everything that is known of one peer."""

from __future__ import annotations

import msgspec

from ckptd.model.words import Confirmation, SourceState


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
