"""How recoveries ended: the journal's own record of it, and its format.

Records outlive the program that wrote them, so their fields, words and units change only with
``ENDED_FORMAT`` and a step in :mod:`ckptd.store.records.schema`, whatever else gets another name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ckptd.errors import DamagedState, StorageError
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.words import FailureCause, Result

ENDED_FORMAT: Final = 4
"""Stands beside each record in the table. Format 3 had no phases, no links to active versions,
and of milestones only critical; format 2 no ``chosen`` and no ``followed_by`` either; format 1 no
``partial``, nor rivals, local bytes, times and counts of units."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source gave to a recovery.

    Attributes:
        node: Who.
        verified_bytes: How much.
    """

    node: NodeId
    verified_bytes: int


class EndedPhase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a phase of a version came.

    Attributes:
        name: Its name.
        unit_count: Units of it that were wanted.
        total_bytes: Length of these.
        left_bytes: What of them was not verified.
        complete_s: Until all of them was durable; ``None``: it never was.
        placed_s: Until they stood under their final names; ``None``: they never did.
    """

    name: str
    unit_count: int
    total_bytes: int
    left_bytes: int
    complete_s: float | None
    placed_s: float | None


class RecordedRival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several contents that go by the version of a recovery.

    Attributes:
        digest: Its identity.
        size_bytes: Length of the version.
        nodes: Who has any of it.
        signers: Trusted keys that signed it.
        is_trusted: One of them may sign the checkpoint.
        is_own: This node has it, or had it.
    """

    digest: Digest
    size_bytes: int
    nodes: tuple[NodeId, ...]
    signers: tuple[str, ...]
    is_trusted: bool
    is_own: bool


class EndedRecovery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a recovery ended.

    Attributes:
        recovery: Its name.
        checkpoint: What it recovered.
        version: Which version; ``None`` if none was chosen.
        digest: Identity of that version.
        target: Absolute path of the version's directory; empty if no version was chosen.
        result: How it ended.
        cause: What made it fail.
        message: That as a sentence for a person; empty if it did not fail.
        is_degraded: It is partial: required units are missing in what was placed.
        missing_units: Paths of units that are missing, or of what made it fail; the first few.
        total_bytes: Bytes of what was wanted of the version.
        placed_bytes: How much of it came under its final name.
        received_bytes: Body bytes that came from sources, wasted ones included.
        resumed_bytes: Bytes that an earlier run or an earlier daemon had verified.
        wasted_bytes: Bytes that were received for nothing.
        wasted_bytes_by_reason: The same by reason.
        sources: Who gave how much.
        happenings: How often each kind of entry occurs in its story.
        duration_s: From the request to the end.
        critical_s: Until every critical unit was verified; ``None`` if that never was, or if
            there is none.
        predicted_duration_s: Prediction of ``duration_s`` when transferring began; ``None``:
            the rates of its sources were not known.
        predicted_critical_s: Prediction of ``critical_s`` at that time.
        local_bytes: Bytes that were on this node's disks already and that no earlier run of the
            recovery left, and zeros.
        reused_bytes: Those of them that were copied from elsewhere on this node.
        kept_warm_bytes: How much of it was not dropped from the page cache.
        was_here: The version stood at the target, and nothing had to be done.
        rivals: The contents among which nobody had chosen, if that made it fail.
        started_at_s: When it was asked for, in Unix time; 0: not kept.
        unit_count: How many units of the version were wanted; 0: not known.
        verified_unit_count: Of how many of them every block was verified.
        followed_by: The recovery that brings the rest of the version.
        link: Absolute path of the link that leads to the version since, because that was asked for.
        link_problem: Why it does not, as a sentence for a person.
        first_unit_s: Until the first unit was durable; ``None``: none was, or none has bytes.
        complete_s: Until it was complete; ``None``: it is not.
        phases: The phases of which something was wanted, in order.
    """

    recovery: RecoveryId
    checkpoint: CheckpointName
    version: Version | None
    digest: Digest | None
    target: str
    result: Result
    cause: FailureCause | None
    message: str
    is_degraded: bool
    missing_units: tuple[str, ...]
    total_bytes: int
    placed_bytes: int
    received_bytes: int
    resumed_bytes: int
    wasted_bytes: int
    wasted_bytes_by_reason: dict[str, int]
    sources: tuple[Contribution, ...]
    happenings: dict[str, int]
    duration_s: float
    critical_s: float | None
    predicted_duration_s: float | None
    predicted_critical_s: float | None
    rivals: tuple[RecordedRival, ...] = ()
    local_bytes: int = 0
    reused_bytes: int = 0
    was_here: bool = False
    kept_warm_bytes: int = 0
    started_at_s: float = 0.0
    unit_count: int = 0
    verified_unit_count: int = 0
    followed_by: RecoveryId | None = None
    link: str = ""
    link_problem: str = ""
    first_unit_s: float | None = None
    complete_s: float | None = None
    phases: tuple[EndedPhase, ...] = ()


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(EndedRecovery)


def encode_ended(record: EndedRecovery) -> bytes:
    """Return a record in the present format."""
    return _encoder.encode(record)


def decode_ended(number: int, record_format: int, encoded: bytes) -> EndedRecovery:
    """Read a record.

    Args:
        number: Which one it is in its table, for messages.
        record_format: Stands beside it.
        encoded: Its bytes.

    Raises:
        StorageError: A newer ckptd has written it.
        DamagedState: It is not what the format says.
    """
    subject = f"record {number} of ended recoveries in the state database"
    if record_format > ENDED_FORMAT:
        raise StorageError(
            subject,
            f"was written by a newer ckptd (format {record_format}, not {ENDED_FORMAT})",
            "Use that one, or give this one a state directory of its own.",
        )
    try:
        return _decoder.decode(encoded)
    except msgspec.DecodeError as error:
        raise DamagedState(
            subject,
            f"is damaged: {error}",
            f"Remove row {number} of the table 'ended': that recovery is forgotten then.",
        ) from error
