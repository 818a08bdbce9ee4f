import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.ids import Epoch
from ckptd.model.words import Urgency
from ckptd.wire.fields import (
    CLASSES,
    accepts_zstd,
    etag_listed,
    parse_class,
    parse_load,
    parse_retry_after,
    parse_revision,
    parse_wait,
    quote_etag,
    revision_etag,
)


@pytest.mark.parametrize(
    ("value", "is_listed"),
    [
        (None, False), ("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True),
        ("a", False), ('"ab"', False), ('"b",W/"c"', False),
    ],
)  # fmt: skip
def test_an_entity_tag_is_found_in_a_list(value: str | None, is_listed: bool) -> None:
    assert etag_listed(value, quote_etag("a")) is is_listed


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_revision_is_read_from_the_entity_tag_it_was_written_to(
    epoch: int, revision: int
) -> None:
    etag = revision_etag(Epoch(epoch), revision)
    assert parse_revision(etag, Epoch(epoch)) == revision
    assert parse_revision(etag, Epoch(epoch + 1)) is None


@pytest.mark.parametrize(
    "value",
    [
        None, "", "*", "5-3", '"5-3', '"5"', '"5-"', '"-3"', '"5-3", "5-4"', 'W/"5-3"', '"5-x"',
        '"5-3-1"', '"5-' + "9" * 20 + '"', '"5-\u0663"', '" 5-3"',
    ],
)  # fmt: skip
def test_whatever_else_an_entity_tag_is_names_no_revision(value: str | None) -> None:
    assert parse_revision(value, Epoch(5)) is None


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, 0), ("", 0), ("wait=10", 10), ("respond-async, wait=10", 10), ('Wait="7"; x=y', 7),
        ("wait=0", 0), ("wait=61", 60), (f"wait={10**9}", 0), ("wait=-1", 0), ("wait=1.5", 0),
        ("wait", 0), ("await=3", 0), ("x=wait=3", 0),
    ],
)  # fmt: skip
def test_a_preference_to_wait_is_read_or_ignored(value: str | None, wait_s: int) -> None:
    assert parse_wait(value) == wait_s


@pytest.mark.parametrize(
    ("value", "load_bytes"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("123", 123),
        ("-1", 0),
        ("1e3", 0),
        ("1" * 20, 0),
        ("\u0661", 0),
    ],
)
def test_a_load_is_read_or_ignored(value: str | None, load_bytes: int) -> None:
    assert parse_load(value) == load_bytes


@pytest.mark.parametrize(
    ("value", "retry_after_s"),
    [(None, 1), ("0", 0), ("7", 7), ("61", 60), ("9" * 19, 60), ("9" * 20, 1), ("soon", 1)],
)
def test_a_busy_source_is_left_alone_for_as_long_as_it_says(
    value: str | None, retry_after_s: int
) -> None:
    assert parse_retry_after(value) == retry_after_s


def test_a_request_of_no_known_class_is_a_normal_one() -> None:
    assert CLASSES == ("critical", "normal", "deferred", "background")
    assert [parse_class(name).label for name in CLASSES] == list(CLASSES)
    for text in (None, "Critical", "x"):
        assert parse_class(text) is Urgency.NORMAL


@given(st.text(max_size=50))
def test_arbitrary_text_does_no_harm(text: str) -> None:
    assert etag_listed(text, '"a"') in {True, False}
    assert parse_revision(text, Epoch(0)) is None or text.startswith('"0')
    assert 0 <= parse_wait(text) <= 60
    assert 0 <= parse_load(text) < 10**19
    assert 0 <= parse_retry_after(text) <= 60
    assert parse_class(text).label in CLASSES


@pytest.mark.parametrize(
    ("value", "is_accepted"),
    [
        ("zstd", True),
        ("gzip, zstd;q=0.1", True),
        ("ZSTD ; q=1", True),
        (None, False),
        ("", False),
        ("*", False),
        ("identity", False),
        ("zstd;q=0", False),
        ("zstd; Q = 0.00", False),
        ("xzstd, zstd2", False),
        (";,;;=", False),
    ],
)
def test_zstd_is_accepted_by_name_alone(value: str | None, is_accepted: bool) -> None:
    assert accepts_zstd(value) is is_accepted
