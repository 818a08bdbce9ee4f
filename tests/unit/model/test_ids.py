"""Names, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, NODE_ID_BYTES_MAX, VERSION_MAX
from ckptd.model.ids import (
    parse_checkpoint_name,
    parse_digest,
    parse_digest_prefix,
    parse_node_id,
    parse_reference,
    parse_version,
    shortened,
)

NO_NAMES = ["", ".", "..", "-a", "_a", ".a", "a b", "a\n", "\na", "a\0", "ä", "a:b", "a@1", "٣"]


@pytest.mark.parametrize("text", ["a", "0", "node-1.rack_2", "A" * NODE_ID_BYTES_MAX, "a..b"])
def test_a_node_id(text: str) -> None:
    assert parse_node_id(text) == text


@pytest.mark.parametrize("text", [*NO_NAMES, "a/b", "A" * (NODE_ID_BYTES_MAX + 1)])
def test_what_is_no_node_id(text: str) -> None:
    with pytest.raises(UsageError, match="is not letters, digits"):
        parse_node_id(text)


@pytest.mark.parametrize(
    "text", ["llama", "llama/rank-3", "a/b/c/d", "0/0", "n" * CHECKPOINT_NAME_BYTES_MAX]
)
def test_a_checkpoint_name(text: str) -> None:
    assert parse_checkpoint_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *NO_NAMES,
        "/",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        "a/.",
        "a/b\n",
        "n" * (CHECKPOINT_NAME_BYTES_MAX + 1),
    ],
)
def test_what_is_no_checkpoint_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not components of letters"):
        parse_checkpoint_name(text)


def test_a_version_behind_a_name_is_no_wrong_letter() -> None:
    with pytest.raises(UsageError, match=r"alone, without a version: llama/rank-3\.$"):
        parse_checkpoint_name("llama/rank-3@1200")


@pytest.mark.parametrize("value", [0, 1, VERSION_MAX])
def test_a_version(value: int) -> None:
    assert parse_version(value) == value


@pytest.mark.parametrize("value", [-1, VERSION_MAX + 1])
def test_what_is_no_version(value: int) -> None:
    with pytest.raises(UsageError, match=f"version {value}: is not between 0 and"):
        parse_version(value)


def test_a_digest() -> None:
    assert parse_digest("0123456789abcdef" * 4) == "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n", "a" * 64 + "\n", "٣" * 64]
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(UsageError, match="is not 64 lower-case hexadecimal digits"):
        parse_digest(text)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("llama", ("llama", None)),
        ("llama/rank-3", ("llama/rank-3", None)),
        ("llama/rank-3@1200", ("llama/rank-3", 1200)),
        ("a@0", ("a", 0)),
        ("a@007", ("a", 7)),
        (f"a@{VERSION_MAX}", ("a", VERSION_MAX)),
    ],
)
def test_a_reference(text: str, reference: tuple[str, int | None]) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "@",
            "@1",
            "a@",
            "a@b",
            "a@-1",
            "a@1.5",
            "a@1@2",
            "a@ 1",
            "a@1\n",
            "a@²",
            "a@٣",
            "a b@1",
        ),
        f"a@{VERSION_MAX + 1}",
        "a@" + "9" * 10_000,
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


@pytest.mark.parametrize("text", ["01234567", "0123456789abcdef" * 4])
def test_the_beginning_of_a_digest_has_8_to_64_digits(text: str) -> None:
    assert parse_digest_prefix(text) == text


def test_what_people_see_of_a_digest_is_accepted_as_its_beginning() -> None:
    digest = "0123456789abcdef" * 4
    assert shortened(digest) == "0123456789ab"
    assert parse_digest_prefix(shortened(digest)) == shortened(digest)


@pytest.mark.parametrize("text", ["", "0123456", "0" * 65, "0123456g", "0123456A", "01234567\n"])
def test_what_is_no_beginning_of_a_digest_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_digest_prefix(text)


def test_a_pattern_stands_for_a_name_where_that_may_be() -> None:
    assert parse_reference("llama/*@12", with_pattern=True) == ("llama/*", 12)
    assert parse_reference("llama/rank-3", with_pattern=True) == ("llama/rank-3", None)
    for text, with_pattern in (("llama/*", False), ("llama/ 3", True), ("llama/*@x", True)):
        with pytest.raises(UsageError):
            parse_reference(text, with_pattern=with_pattern)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused_in_one_printable_line(text: str) -> None:
    for parse in (
        parse_node_id,
        parse_checkpoint_name,
        parse_digest,
        parse_digest_prefix,
        parse_reference,
    ):
        try:
            parse(text)
        except UsageError as error:
            sentence = str(error)
        else:
            sentence = text
        assert sentence.isprintable()
        assert len(sentence) < 500
