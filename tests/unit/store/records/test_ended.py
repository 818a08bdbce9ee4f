from __future__ import annotations

import json

import msgspec
import pytest

from ckptd.errors import DamagedState, StorageError
from ckptd.model.ids import Digest, NodeId, RecoveryId
from ckptd.model.words import FailureCause, Result
from ckptd.store.records.ended import (
    ENDED_FORMAT,
    RecordedRival,
    decode_ended,
    encode_ended,
)
from tests.support.stores import ended

RECORD = ended(RecoveryId("r1"))

IN_FORMAT_2 = {
    "recovery": "r1",
    "checkpoint": "llama/rank-0",
    "version": 100,
    "digest": "ab" * 32,
    "target": "/data/llama/100",
    "result": "failed",
    "cause": "critical_missing",
    "message": "nobody has it",
    "is_degraded": False,
    "missing_units": ["a", "b/c"],
    "total_bytes": 1000,
    "placed_bytes": 0,
    "received_bytes": 700,
    "resumed_bytes": 200,
    "wasted_bytes": 30,
    "wasted_bytes_by_reason": {"duplicate": 30},
    "sources": [{"node": "n1", "verified_bytes": 670}],
    "happenings": {"standstill": 2},
    "duration_s": 5.5,
    "critical_s": None,
    "predicted_duration_s": 4.0,
    "predicted_critical_s": 0.5,
}


def test_the_format_does_not_change_without_its_number() -> None:
    assert ENDED_FORMAT == 4
    assert json.loads(encode_ended(RECORD)) == IN_FORMAT_2 | {
        "rivals": [],
        "local_bytes": 0,
        "reused_bytes": 0,
        "kept_warm_bytes": 0,
        "was_here": False,
        "started_at_s": 0.0,
        "unit_count": 0,
        "verified_unit_count": 0,
        "followed_by": None,
        "link": "",
        "link_problem": "",
        "first_unit_s": None,
        "complete_s": None,
        "phases": [],
    }
    assert decode_ended(1, 2, json.dumps(IN_FORMAT_2).encode()) == RECORD


def test_the_words_of_the_format_are_those_of_the_model() -> None:
    """A new word for one of these needs a new format."""
    assert [result.value for result in Result] == [
        "complete",
        "chosen",
        "partial",
        "failed",
        "cancelled",
    ]
    assert [cause.value for cause in FailureCause] == [
        "store",
        "unknown",
        "critical_missing",
        "required_missing",
        "verification",
        "conflict",
    ]


def test_contents_that_were_to_be_chosen_from_are_kept() -> None:
    rival = RecordedRival(
        digest=Digest("0a" * 32),
        size_bytes=5,
        nodes=(NodeId("n1"),),
        signers=("k",),
        is_trusted=True,
        is_own=False,
    )
    record = msgspec.structs.replace(RECORD, cause=FailureCause.CONFLICT, rivals=(rival,))
    assert decode_ended(1, 2, encode_ended(record)) == record


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("cause", [None, *FailureCause])
def test_every_end_can_be_read_again(result: Result, cause: FailureCause | None) -> None:
    record = msgspec.structs.replace(RECORD, result=result, cause=cause, version=None, digest=None)
    assert decode_ended(1, ENDED_FORMAT, encode_ended(record)) == record


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"result": "lost"}, r"Invalid enum value 'lost' - at `\$.result`"),
        ({"version": "100"}, r"Expected `int \| null`, got `str` - at `\$.version`"),
        ({"more": 1}, "unknown field `more`"),
        ({"sources": [{"node": "n1"}]}, r"missing required field `verified_bytes`.*sources"),
        ({"sources": [{"node": "n1", "verified_bytes": 1, "x": 2}]}, r"unknown field `x`.*sources"),
    ],
)
def test_a_record_that_is_none_is_refused_by_its_number(
    change: dict[str, object], problem: str
) -> None:
    encoded = json.dumps(IN_FORMAT_2 | change).encode()
    with pytest.raises(DamagedState, match=rf"record 7 .*is damaged: .*{problem}.*row 7 of"):
        decode_ended(7, 2, encoded)


@pytest.mark.parametrize("field", IN_FORMAT_2)
def test_every_field_is_required(field: str) -> None:
    rest = {name: value for name, value in IN_FORMAT_2.items() if name != field}
    with pytest.raises(DamagedState, match=f"missing required field `{field}`"):
        decode_ended(1, 1, json.dumps(rest).encode())


def test_bytes_that_are_no_json_are_damage() -> None:
    with pytest.raises(DamagedState, match="is damaged: "):
        decode_ended(1, 1, b"r")


def test_a_record_of_a_newer_format_is_refused_and_not_called_damaged() -> None:
    with pytest.raises(StorageError, match=r"record 3 .*a newer ckptd \(format 5, not 4\)"):
        decode_ended(3, ENDED_FORMAT + 1, encode_ended(RECORD))
