import msgspec
import pytest

from ckptd.cli.ctl.recovery_verbs import how_it_is, own_terms, resolve, where_to
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import NotFound, UsageError
from tests.support.control_samples import VIEW

VIEWS = [
    msgspec.structs.replace(VIEW, recovery=recovery) for recovery in ("01J9", "01J9QX", "01K2")
]


@pytest.mark.parametrize(
    ("text", "recovery"), [("01K", "01K2"), ("01J9Q", "01J9QX"), ("01J9", "01J9")]
)
def test_a_recovery_is_found_by_a_beginning_that_only_it_has(text: str, recovery: str) -> None:
    assert resolve(VIEWS, text).recovery == recovery


def test_a_beginning_that_several_have_is_refused_with_their_names() -> None:
    with pytest.raises(UsageError, match=r"may be any of 01J9, 01J9QX\. Type more"):
        resolve(VIEWS, "01J")


def test_an_unknown_recovery_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"^recovery '02': is not known"):
        resolve(VIEWS, "02")


def test_a_recovery_shows_where_it_goes_once_that_is_known() -> None:
    assert where_to(VIEW) == " → /data/llama/rank-0/100"
    assert where_to(msgspec.structs.replace(VIEW, target="")) == ""


@pytest.mark.parametrize(
    ("request_terms", "own", "said"),
    [
        ((3600.0, False), (3600.0, False), ""),
        ((300.0, False), (3600.0, False), "patience 1h00m, a partial result is not permitted"),
        ((None, True), (None, False), "patience forever, a partial result is not permitted"),
        ((None, False), (300.0, True), "patience 5m00s, a partial result is permitted"),
    ],
)
def test_a_recovery_that_is_joined_says_how_it_ends_otherwise_than_was_asked_for(
    request_terms: tuple[float | None, bool], own: tuple[float | None, bool], said: str
) -> None:
    patience_s, allow_partial = request_terms
    request = RecoverRequest(checkpoint="a", patience_s=patience_s, allow_partial=allow_partial)
    view = msgspec.structs.replace(VIEW, patience_s=own[0], allow_partial=own[1])
    assert own_terms(view, request) == (said and f", as it was begun: {said}")


@pytest.mark.parametrize(
    ("is_promoted", "is_paused", "said"),
    [
        (False, False, "goes on"),
        (True, False, "was in the background and is urgent now"),
        (False, True, "is paused; let it go on with: ckptctl resume 01J9QX"),
        (True, True, "was in the background and is urgent now and is paused; let it go on with:"),
    ],
)
def test_of_one_that_was_under_way_it_is_said_how_it_is(
    is_promoted: bool, is_paused: bool, said: str
) -> None:
    view = msgspec.structs.replace(
        VIEW, is_joined=True, is_promoted=is_promoted, is_paused=is_paused
    )
    assert how_it_is(view).startswith(said)
