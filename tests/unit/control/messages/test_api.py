import msgspec
import pytest

from ckptd.control.messages.api import (
    Cause,
    ErrorView,
    Outcome,
    RecoverRequest,
    RecoveryProgress,
    Stage,
    exit_code_of,
)
from ckptd.core.effects import FailureCause, Result
from ckptd.errors import ExitCode, OutOfSpace
from tests.support.control import PROGRESS, RESULT


@pytest.mark.parametrize(
    ("result", "cause", "is_degraded", "code"),
    [
        (Outcome.COMPLETE, None, False, ExitCode.DONE),
        (Outcome.COMPLETE, None, True, ExitCode.DEGRADED),
        (Outcome.FAILED, Cause.STORE, False, ExitCode.FAILED),
        (Outcome.FAILED, Cause.CRITICAL_MISSING, False, ExitCode.CRITICAL_MISSING),
        (Outcome.FAILED, Cause.VERIFICATION, False, ExitCode.VERIFICATION),
        (Outcome.FAILED, None, False, ExitCode.FAILED),
        (Outcome.CANCELLED, None, False, ExitCode.FAILED),
    ],
)
def test_each_way_to_end_has_its_exit_code(
    result: Outcome, cause: Cause | None, is_degraded: bool, code: ExitCode
) -> None:
    ended = msgspec.structs.replace(RESULT, result=result, cause=cause, is_degraded=is_degraded)
    assert exit_code_of(ended) is code


def test_the_words_for_an_end_are_those_of_the_scheduler() -> None:
    assert {outcome.value for outcome in Outcome} == {result.value for result in Result}
    assert {cause.value for cause in Cause} == {cause.value for cause in FailureCause}


def test_only_the_three_last_stages_are_ended() -> None:
    ended = [stage for stage in Stage if stage.is_ended]
    assert ended == [Stage.COMPLETE, Stage.FAILED, Stage.CANCELLED]


def test_events_are_told_apart_by_type() -> None:
    progress = msgspec.json.decode(msgspec.json.encode(PROGRESS))
    result = msgspec.json.decode(msgspec.json.encode(RESULT))
    assert (progress["type"], list(progress)) == ("progress", ["type", "view"])
    assert (result["type"], result["result"]) == ("result", "complete")


def test_a_reader_ignores_fields_it_does_not_know() -> None:
    message = msgspec.json.decode(msgspec.json.encode(PROGRESS))
    message["view"]["colour"] = "green"
    encoded = msgspec.json.encode(message)
    assert msgspec.json.decode(encoded, type=RecoveryProgress) == PROGRESS


@pytest.mark.parametrize(
    "body",
    [
        b'{"checkpoint":"a","wait":true}',
        b'{"version":3}',
        b'{"checkpoint":"a","version":"3"}',
        b'{"checkpoint":"a","patience_s":-1}',
    ],
)
def test_a_request_is_taken_literally(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=RecoverRequest)


def test_an_error_is_told_with_its_sentence_and_exit_code() -> None:
    assert ErrorView.of(OutOfSpace("target /data/a", "needs 2 GiB", "Free some.")) == ErrorView(
        code="out_of_space",
        message="target /data/a: needs 2 GiB. Free some.",
        subject="target /data/a",
        problem="needs 2 GiB",
        hint="Free some.",
        exit_code=1,
    )
