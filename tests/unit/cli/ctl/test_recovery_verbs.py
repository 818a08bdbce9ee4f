import msgspec
import pytest

from ckptd.cli.ctl.recovery_verbs import resolve, where_to
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
