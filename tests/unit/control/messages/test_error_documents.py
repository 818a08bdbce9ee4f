from ckptd.control.messages.error_documents import ErrorView, StreamError, is_result
from ckptd.errors import OutOfSpace
from tests.support.control_samples import NEED_RESULT, PROGRESS, PUBLISH_RESULT, RESULT, VIEW


def test_an_error_is_told_with_its_sentence_and_exit_code() -> None:
    assert ErrorView.of(OutOfSpace("target /data/a", "needs 2 GiB", "Free some.")) == ErrorView(
        code="out_of_space",
        message="target /data/a: needs 2 GiB. Free some.",
        subject="target /data/a",
        problem="needs 2 GiB",
        hint="Free some.",
        exit_code=1,
    )


def test_only_a_result_ends_a_stream_that_has_one() -> None:
    assert all(map(is_result, (RESULT, PUBLISH_RESULT, NEED_RESULT)))
    error = StreamError(code="", message="", subject="", problem="", hint="", exit_code=1)
    assert not any(map(is_result, (PROGRESS, VIEW, error, None)))
