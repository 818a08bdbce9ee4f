"""Finding a tensor by its name."""

from __future__ import annotations

import pytest

from ckptd.errors import NotFound, UsageError
from ckptd.model.formats.tensors import Tensor, tensor_named
from ckptd.model.words import TensorContent


def tensor(name: str, part_of: str = "") -> Tensor:
    return Tensor(name, "F32", (1,), "u", 0, 4, TensorContent.ITEM, part_of)


KNOWN = (
    tensor("a.weight"),
    tensor("b[0,0]", "b"),
    tensor("b[2,0]", "b"),
    tensor("c[0]"),
    *(tensor(f"d[{at}]", "d") for at in range(4)),
)


def test_a_name_is_one_exactly() -> None:
    assert tensor_named(KNOWN, "a.weight", "u").name == "a.weight"
    assert tensor_named(KNOWN, "b[2,0]", "u").part_of == "b"
    assert tensor_named(KNOWN, "c[0]", "u").part_of == ""


def test_of_what_is_stored_in_parts_one_has_to_be_named() -> None:
    with pytest.raises(UsageError, match=r"in 2 parts. Name one of them: 'b\[0,0\]', 'b\[2,0\]'\."):
        tensor_named(KNOWN, "b", "u")
    with pytest.raises(UsageError, match=r"'d\[2\]', …\.$"):
        tensor_named(KNOWN, "d", "u")


def test_what_is_not_there_is_not_guessed() -> None:
    with pytest.raises(NotFound, match=r"is not in it\. Similar: 'a.weight'"):
        tensor_named(KNOWN, "a.weigth", "u")
    with pytest.raises(NotFound, match=r"'a' of u: is not in it$"):
        tensor_named((), "a", "u")
