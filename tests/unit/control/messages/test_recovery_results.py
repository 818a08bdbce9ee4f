import msgspec
import pytest

from ckptd.control.messages.recovery_results import RecoveryProgress, exit_code_of, exit_code_of_all
from ckptd.errors import ExitCode
from ckptd.model.words import FailureCause, Result
from tests.support.control_samples import EXPLANATION, NEED_PROGRESS, PROGRESS, RESULT


@pytest.mark.parametrize(
    ("result", "cause", "is_degraded", "code"),
    [
        (Result.COMPLETE, None, False, ExitCode.DONE),
        (Result.PARTIAL, None, True, ExitCode.PARTIAL),
        (Result.FAILED, FailureCause.STORE, False, ExitCode.FAILED),
        (Result.FAILED, FailureCause.CRITICAL_MISSING, False, ExitCode.MISSING),
        (Result.FAILED, FailureCause.REQUIRED_MISSING, False, ExitCode.MISSING),
        (Result.FAILED, FailureCause.UNKNOWN, False, ExitCode.MISSING),
        (Result.FAILED, FailureCause.VERIFICATION, False, ExitCode.VERIFICATION),
        (Result.FAILED, FailureCause.CONFLICT, False, ExitCode.CONFLICT),
        (Result.FAILED, None, False, ExitCode.FAILED),
        (Result.CANCELLED, None, False, ExitCode.FAILED),
    ],
)
def test_each_way_to_end_has_its_exit_code(
    result: Result, cause: FailureCause | None, is_degraded: bool, code: ExitCode
) -> None:
    ended = msgspec.structs.replace(RESULT, result=result, cause=cause, is_degraded=is_degraded)
    assert exit_code_of(ended) is code


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ((Result.COMPLETE, Result.CHOSEN), ExitCode.DONE),
        ((Result.COMPLETE, Result.PARTIAL), ExitCode.PARTIAL),
        ((FailureCause.UNKNOWN, Result.PARTIAL), ExitCode.MISSING),
        ((FailureCause.STORE, FailureCause.UNKNOWN), ExitCode.FAILED),
        ((Result.CANCELLED, FailureCause.REQUIRED_MISSING), ExitCode.FAILED),
        ((FailureCause.CONFLICT, FailureCause.STORE), ExitCode.CONFLICT),
        ((FailureCause.CONFLICT, FailureCause.VERIFICATION), ExitCode.VERIFICATION),
        (tuple(FailureCause), ExitCode.VERIFICATION),
    ],
)
def test_several_recoveries_end_a_command_as_the_worst_of_them(
    ended: tuple[Result | FailureCause, ...], code: ExitCode
) -> None:
    results = [
        msgspec.structs.replace(RESULT, result=Result.FAILED, cause=each)
        if isinstance(each, FailureCause)
        else msgspec.structs.replace(RESULT, result=each)
        for each in ended
    ]
    assert exit_code_of_all(results) is code
    assert exit_code_of_all(reversed(results)) is code


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


def test_names_on_the_socket_stay_where_the_source_has_other_words() -> None:
    view = msgspec.json.decode(msgspec.json.encode(PROGRESS))["view"]
    explanation = msgspec.json.decode(msgspec.json.encode(EXPLANATION))
    need = msgspec.json.decode(msgspec.json.encode(NEED_PROGRESS))
    assert "limiter" in view
    assert explanation["limiter"] == EXPLANATION.bottleneck
    assert need["is_raised"] == NEED_PROGRESS.is_prioritized
    for renamed in (view, explanation, need):
        assert not {"bottleneck", "is_prioritized"} & set(renamed)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result.COMPLETE, ExitCode.FAILED),
        (Result.CHOSEN, ExitCode.FAILED),
        (Result.PARTIAL, ExitCode.PARTIAL),
    ],
)
def test_what_did_not_become_active_although_that_was_asked_for_is_no_success(
    result: Result, code: ExitCode
) -> None:
    ended = msgspec.structs.replace(RESULT, result=result, link_problem="something is there")
    assert exit_code_of(ended) is code
