"""What people type for a unit and a range of it means one thing."""

from __future__ import annotations

import pytest

from ckptd.errors import UsageError
from ckptd.model.unit_names import (
    UnitRange,
    is_checkpoint_name,
    partings,
    split_range,
    split_unit_name,
)


@pytest.mark.parametrize(
    ("typed", "unit", "range_"),
    [
        ("llama:model.bin", "llama:model.bin", None),
        ("llama:model.bin:0-4096", "llama:model.bin", (0, 4096)),
        ("llama:model.bin:4096-", "llama:model.bin", (4096, None)),
        ("/data/a/model.bin:10-0", "/data/a/model.bin", (10, 0)),
        ("llama:a:b:1-2", "llama:a:b", (1, 2)),
        ("llama:a:1-2:3-4", "llama:a:1-2", (3, 4)),
        ("llama:a:1-2:", "llama:a:1-2", None),
        ("llama:a:1-:", "llama:a:1-", None),
        ("llama:a:", "llama:a:", None),
        ("llama:a-1-2", "llama:a-1-2", None),
        ("llama:a:1-2-3", "llama:a:1-2-3", None),
        ("llama:a:-5", "llama:a:-5", None),
        ("llama:a:1", "llama:a:1", None),
        ("llama:a:+1-2", "llama:a:+1-2", None),
        ("llama:a:٣-٤", "llama:a:٣-٤", None),
        (":1-2", ":1-2", None),
        ("", "", None),
    ],
)
def test_two_numbers_at_the_end_are_a_range(
    typed: str, unit: str, range_: tuple[int, int | None] | None
) -> None:
    assert split_range(typed) == (unit, None if range_ is None else UnitRange(*range_))


@pytest.mark.parametrize("typed", ["a:99999999999999999999-1", "a:0-17592186044417"])
def test_a_range_that_no_unit_has_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="none is so long"):
        split_range(typed)


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("llama:model.bin", ("llama", None, "model.bin")),
        ("llama/rank-3:a:b", ("llama/rank-3", None, "a:b")),
        ("llama@100:model.bin", ("llama", 100, "model.bin")),
        ("llama@:model.bin", None),
        ("llama@x:model.bin", None),
        (f"llama@{2**63}:model.bin", None),
        ("model.bin", None),
        ("llama:", None),
        (":model.bin", None),
        ("_part:model.bin", None),
        ("a b:c", None),
    ],
)
def test_the_first_colon_ends_the_name_of_the_checkpoint(
    typed: str, named: tuple[str, int | None, str] | None
) -> None:
    assert split_unit_name(typed) == named


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("llama:a", []),
        ("llama:a#b", [("llama:a", "b")]),
        ("llama#a.b/c", [("llama", "a.b/c")]),
        ("a#b#c", [("a#b", "c"), ("a", "b#c")]),
        ("a##", [("a", "#")]),
        ("#a", []),
        ("a#", []),
        ("#", []),
    ],
)
def test_each_sign_may_part_a_unit_from_a_tensor(typed: str, meant: list[tuple[str, str]]) -> None:
    assert list(partings(typed)) == meant


def test_not_every_sign_is_asked_about() -> None:
    assert len(list(partings("a#" * 1000 + "b"))) == 8


def test_a_checkpoint_may_be_named_alone_or_with_its_version() -> None:
    assert all(map(is_checkpoint_name, ("llama", "llama/rank-3", "llama@7")))
    assert not any(map(is_checkpoint_name, ("", "llama:a", "/llama", "llama@", "llama@x", "a#b")))
