"""Which elements a unit has: said in one fact, and read from it within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.limits import KIB, MIB
from ckptd.model.formats.element_types import (
    RUNS_MAX,
    ElementRun,
    TypedBytes,
    fact_of,
    parse_dtype,
    runs_of,
    width_at,
)


def said(*parts: tuple[int, int, str]) -> str:
    return fact_of(runs_of(TypedBytes(*part) for part in parts))


def test_one_type_is_one_word_and_counts_from_the_first_byte() -> None:
    assert said((104, MIB, "BF16"), (MIB, 2 * MIB, "BF16")) == "BF16"
    assert width_at("BF16", 0, 100) == 2
    assert [width_at(name, 0, 9) for name in ("U8", "F16", "F32", "C64", "F8_E4M3")] == [
        1, 2, 4, 8, 1
    ]  # fmt: skip


def test_another_type_begins_where_it_says() -> None:
    fact = said((104, MIB, "BF16"), (MIB, 3 * MIB, "F32"), (3 * MIB, 4 * MIB, "I64"))
    assert fact == f"BF16 F32@{MIB} I64@{3 * MIB}"
    assert [width_at(fact, at, at + 256 * KIB) for at in (0, MIB, 2 * MIB, 3 * MIB)] == [2, 4, 4, 8]


def test_of_a_block_with_both_what_is_in_its_middle_counts() -> None:
    assert width_at(f"BF16 F32@{MIB}", MIB - 200 * KIB, MIB + 56 * KIB) == 2
    assert width_at(f"BF16 F32@{MIB}", MIB - KIB, MIB + KIB) == 4
    assert width_at(f"BF16 F32@{MIB}", MIB - 56 * KIB, MIB + 200 * KIB) == 4


def test_a_few_elements_of_another_type_are_left_out() -> None:
    norms = [(at, at + 16 * KIB, "F32") for at in range(MIB, 9 * MIB, MIB)]
    weights = [(at + 16 * KIB, at + MIB, "BF16") for at in range(MIB, 9 * MIB, MIB)]
    assert said(*sorted(norms + weights)) == "BF16"
    assert said((0, 64 * KIB, "F32"), (64 * KIB, MIB, "BF16")) == f"F32 BF16@{64 * KIB}"


def test_the_only_type_of_a_unit_is_said_however_few_there_are() -> None:
    assert said(*((at, at + KIB, "BF16") for at in range(0, 8 * KIB, KIB))) == "BF16"


def test_what_is_not_known_is_not_said_or_said_to_be_so() -> None:
    assert said() == ""
    assert said((0, MIB, "F3")) == ""
    assert said((1, MIB + 1, "BF16")) == "", "its elements lie across those of the blocks"
    assert said((0, MIB, "F32"), (MIB, 2 * MIB, "F3")) == f"F32 -@{MIB}"
    assert width_at(f"F32 -@{MIB}", MIB, 2 * MIB) is None


def test_a_unit_of_very_many_runs_is_not_described() -> None:
    many = [(n * MIB, (n + 1) * MIB, ("BF16", "F32")[n % 2]) for n in range(RUNS_MAX + 1)]
    assert said(*many) == ""
    assert len(said(*many[1:]).split()) == RUNS_MAX


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["BF16", "F32", "I64", "F3"]), max_size=20))
def test_what_is_said_of_a_part_is_read_in_its_middle(types: list[str]) -> None:
    fact = said(*((n * MIB, (n + 1) * MIB, name) for n, name in enumerate(types)))
    widths = {"BF16": 2, "F32": 4, "I64": 8, "F3": None}
    for number, name in enumerate(types):
        assert width_at(fact, number * MIB, (number + 1) * MIB) == widths[name]


@given(st.text("BF132@ -x²", max_size=30), st.integers(0, 2**63 - 1))
def test_whatever_somebody_else_says_is_a_width_or_means_nothing(fact: str, at: int) -> None:
    assert width_at(fact, at, at + MIB) in {None, 1, 2, 4, 8}


@pytest.mark.parametrize(
    "fact", ["", "bf16", "BF16@x", "F32 BF16@-1", "F32 BF16@" + "0" * 30, "F32 BF16@²", "@", "  "]
)
def test_what_is_no_such_fact_means_nothing(fact: str) -> None:
    assert width_at(fact, 0, 100) is None


def test_words_beyond_the_most_are_not_read() -> None:
    fact = "F32 " + " ".join(f"BF16@{at}" for at in range(10, 10_000, 10))
    assert width_at(fact, 0, 4) == 4
    assert width_at(fact, MIB, MIB + 1) == 2


def test_types_are_typed_in_the_words_of_several_libraries() -> None:
    typed = ["bf16", "bfloat16", "fp16", "half", "float32", "F32", "int8", "auto", "None"]
    assert [parse_dtype(each) for each in typed] == [
        "BF16", "BF16", "F16", "F16", "F32", "F32", "I8", "auto", "none"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="is none of elements"):
        parse_dtype("bf17")


def test_a_run_begins_at_the_first_byte_whatever_stands_before_its_tensors() -> None:
    assert runs_of([TypedBytes(104, MIB, "F16")]) == (ElementRun(0, "F16"),)
