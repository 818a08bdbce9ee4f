"""Of several contents of one version the one is copied that a recovery would take."""

from __future__ import annotations

import pytest

from ckptd.daemon.copying.contents import Content, content_to_copy
from ckptd.model.ids import Digest
from ckptd.model.words import OnConflict

A, B, C = (Digest(letter * 64) for letter in "abc")


def content(
    digest: Digest, proven_count: int = 1, *, is_own: bool = False, is_trusted: bool = False
) -> Content:
    return Content(digest, is_own, is_trusted, proven_count)


@pytest.mark.parametrize("on_conflict", OnConflict)
@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([content(A)], A),
        ([content(A, 0)], A),
        ([content(A, 0), content(B)], B),
        ([content(A, 0), content(B, 0)], None),
        ([content(A, 9), content(B, is_trusted=True)], B),
        ([content(A, 0, is_trusted=True), content(B)], B),
        ([content(A, 9), content(B, 0, is_own=True)], B),
        ([content(A, is_own=True), content(B, is_trusted=True)], B),
        (
            [
                content(A, is_trusted=True),
                content(B, is_trusted=True, is_own=True),
                content(C, is_own=True),
            ],
            B,
        ),
    ],
)
def test_what_is_known_without_asking_goes_first(
    contents: list[Content], expected: Digest | None, on_conflict: OnConflict
) -> None:
    assert content_to_copy(contents, on_conflict) == expected
    assert content_to_copy(contents[::-1], on_conflict) == expected


def test_else_the_configuration_says_what_counts() -> None:
    rivals = [content(B, 2), content(A, 2), content(C, 1)]
    assert content_to_copy(rivals, OnConflict.WAIT) is None
    assert content_to_copy(rivals, OnConflict.MOST_HOLDERS) == A
    assert content_to_copy([*rivals, content(C, 3)], OnConflict.MOST_HOLDERS) == C
