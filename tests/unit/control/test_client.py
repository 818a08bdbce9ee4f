import msgspec
import pytest

from ckptd import errors
from ckptd.control.client import _error_of
from ckptd.control.messages.error_documents import ErrorView
from ckptd.errors import CkptdError, ExitCode

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CkptdError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_as_what_it_was(kind: type[CkptdError]) -> None:
    raised = kind("target /data/a", "is taken", "Choose another.")
    returned = _error_of(ErrorView.of(raised))
    assert type(returned) is kind
    assert str(returned) == str(raised)
    assert (returned.code, returned.exit_code) == (raised.code, raised.exit_code)


def test_an_error_of_a_newer_daemon_keeps_its_code_and_fails_the_command() -> None:
    view = ErrorView.of(CkptdError("moon", "is full"))
    returned = _error_of(msgspec.structs.replace(view, code="moonlight", exit_code=99))
    assert type(returned) is CkptdError
    assert (returned.code, returned.exit_code) == ("moonlight", ExitCode.FAILED)


def test_an_exit_code_is_taken_from_the_daemon() -> None:
    view = ErrorView.of(CkptdError("unit a", "is critical and nobody has it"))
    returned = _error_of(msgspec.structs.replace(view, exit_code=4))
    assert returned.exit_code is ExitCode.MISSING
