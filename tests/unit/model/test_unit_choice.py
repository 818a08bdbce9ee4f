"""Which units somebody wants, and which blocks those are."""

from __future__ import annotations

import pytest

from ckptd.errors import NotFound, UsageError
from ckptd.limits import CHOICE_PATTERNS_MAX, PATH_BYTES_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice, format_choice, read_choice, widened
from ckptd.model.words import Criticality
from tests.support.manifests import make_manifest

CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "model/1.bin": b"1",
    "model/2.bin": b"2",
    "optim/deep/1.bin": b"3",
}
SPACE = AddressSpace(make_manifest(CONTENTS, critical=["config.json"]))


def paths_in(blocks: BlockSet) -> list[str]:
    return [SPACE.manifest.units[unit].path for unit in SPACE.units_of(blocks)]


@pytest.mark.parametrize(
    ("choice", "paths"),
    [
        (Choice(("model/*",)), ["model/1.bin", "model/2.bin"]),
        (Choice(("*1.bin",)), ["model/1.bin", "optim/deep/1.bin"]),
        (Choice(("model/1.bin", "optim/*")), ["model/1.bin", "optim/deep/1.bin"]),
        (Choice(("empty",)), []),
        (Choice(), []),
        (Choice(min_criticality=Criticality.CRITICAL), ["config.json"]),
        (Choice(("model/2*",), Criticality.CRITICAL), ["config.json", "model/2.bin"]),
        (
            Choice(min_criticality=Criticality.NORMAL),
            ["config.json", "model/1.bin", "model/2.bin", "optim/deep/1.bin"],
        ),
    ],
)
def test_the_blocks_are_those_of_the_units_that_it_names(choice: Choice, paths: list[str]) -> None:
    assert paths_in(choice.blocks_in(SPACE)) == paths


def test_what_stands_is_chosen_as_it_stands() -> None:
    standing = BlockSet([(0, 1)])
    assert Choice(is_what_stands=True).blocks_in(SPACE, standing=standing) == standing
    with pytest.raises(NotFound, match="nothing of the version any more"):
        Choice(is_what_stands=True).blocks_in(SPACE)


def test_a_pattern_that_matches_nothing_is_named_with_what_is_near() -> None:
    with pytest.raises(NotFound) as refused:
        Choice(("model/*", "modle/1*")).blocks_in(SPACE)
    assert "pattern 'modle/1*': matches no unit of llama/rank-0@100" in str(refused.value)
    assert "model/1.bin" in str(refused.value)
    nothing = AddressSpace(make_manifest({}))
    with pytest.raises(NotFound, match="It has no unit"):
        Choice(("a",)).blocks_in(nothing)


def test_a_version_without_urgent_units_has_none_to_choose() -> None:
    plain = AddressSpace(make_manifest(CONTENTS))
    with pytest.raises(NotFound, match="has no unit that is at least critical"):
        Choice(min_criticality=Criticality.CRITICAL).blocks_in(plain)


def test_a_choice_that_is_widened_names_what_either_did() -> None:
    one = Choice(("a", "b"), Criticality.CRITICAL)
    other = Choice(("b", "c"), Criticality.NORMAL, is_what_stands=True)
    assert one.widened(other) == Choice(("a", "b", "c"), Criticality.NORMAL, is_what_stands=True)
    assert Choice(("a",)).widened(Choice()) == Choice(("a",))
    assert widened(one, None) is widened(None, one) is None
    assert widened(one, one) == one


def test_there_are_not_too_many_patterns() -> None:
    many = tuple(map(str, range(CHOICE_PATTERNS_MAX)))
    assert Choice.parse(many, None) == Choice(many)
    with pytest.raises(UsageError, match="65 patterns, more than 64"):
        Choice(many).widened(Choice(("more",)))


def test_everything_is_no_choice() -> None:
    assert Choice.parse((), None) is None
    assert Choice.parse(("a", "a", "b"), None) == Choice(("a", "b"))
    assert Choice.parse((), "normal") == Choice(min_criticality=Criticality.NORMAL)


@pytest.mark.parametrize(
    ("patterns", "criticality", "problem"),
    [
        (("",), None, "is empty"),
        (("a" * (PATH_BYTES_MAX + 1),), None, f"more than {PATH_BYTES_MAX} bytes"),
        (("\udcff" * PATH_BYTES_MAX,), None, f"more than {PATH_BYTES_MAX} bytes"),
        ((), "urgent", "is none of critical, normal, deferred"),
        (tuple(map(str, range(65))), None, "65 patterns"),
    ],
)
def test_what_names_no_units_is_refused(
    patterns: tuple[str, ...], criticality: str | None, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        Choice.parse(patterns, criticality)


@pytest.mark.parametrize(
    "choice",
    [
        None,
        Choice(),
        Choice(("model/*", 'a"b\\')),
        Choice((), Criticality.CRITICAL),
        Choice(("x",), Criticality.DEFERRED, is_what_stands=True),
    ],
)
def test_the_journal_gives_back_what_was_chosen(choice: Choice | None) -> None:
    assert read_choice(format_choice(choice)) == choice


def test_the_words_of_the_journal_stay() -> None:
    """An older journal has them; another form needs a step of the schema."""
    text = '{"patterns":["a"],"min_criticality":"critical","is_what_stands":false}'
    assert format_choice(Choice(("a",), Criticality.CRITICAL)) == text
    assert format_choice(None) == ""
