"""What audits came to, for metrics and the doctor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.daemon.audit.proofs import FalseClaim
from ckptd.model.words import AuditResult
from ckptd.observe.metrics import MetricRow, counters, gauge, gauges


@dataclass(frozen=True, slots=True)
class AuditsSeen:
    """What audits came to.

    Attributes:
        counts: Audits since the start, by result.
        claims: Claims that are audited by themselves: proven, not yet, or found to be false.
        oldest_proof_s: The age of the oldest proof of a claim that counts; ``None``: there is none.
        false_claims: The claims whose last audit failed, the last one first.
    """

    counts: Mapping[AuditResult, int]
    claims: Mapping[str, int]
    oldest_proof_s: float | None
    false_claims: Sequence[FalseClaim] = ()


AUDIT_METRICS: Final[Sequence[MetricRow[AuditsSeen]]] = (
    counters(
        "audits",
        "Blocks of what peers claim that were drawn and asked for, by what came of it.",
        ("result",),
        lambda seen: {result.value: count for result, count in seen.counts.items()},
        (result.value for result in AuditResult),
    ),
    gauges(
        "audited_claims",
        "What peers claim and this node audits, by whether it is proven, not yet, or false.",
        ("state",),
        lambda seen: seen.claims,
        ("proven", "unproven", "false"),
    ),
    gauge(
        "oldest_proof_age_seconds",
        "How long ago the proven claim was audited for which that is longest.",
        lambda seen: seen.oldest_proof_s,
    ),
)
