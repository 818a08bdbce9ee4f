"""What the daemon takes for a request, without a socket."""

import msgspec
import pytest

from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.server.bodies import decode_message
from ckptd.errors import UsageError
from ckptd.limits import PATIENCE_MAX_S


def test_a_recovery_waits_for_a_year_at_most_or_for_ever() -> None:
    year = decode_message(b'{"checkpoint":"a","patience_s":%d}' % PATIENCE_MAX_S, RecoverRequest)
    assert year.patience_s == PATIENCE_MAX_S
    assert decode_message(b'{"checkpoint":"a"}', RecoverRequest).patience_s is None


@pytest.mark.parametrize("patience", [b"-1", b"1e9", b"1e308", b"1e999", b"NaN", b'"1"'])
def test_a_patience_that_is_no_time_is_refused(patience: bytes) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        decode_message(b'{"checkpoint":"a","patience_s":%b}' % patience, RecoverRequest)


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
