"""Tensors as a table."""

from __future__ import annotations

from ckptd.cli.render.tensor_text import tensor_lines
from ckptd.model.formats.tensors import Tensor
from ckptd.model.words import TensorContent

VALUES, ITEM = TensorContent

ROWS = (
    Tensor("a.weight", "BF16", (4096, 2), "m.safetensors", 100, 16484, VALUES),
    Tensor("step", "int64", (), "__0_0.distcp", 0, 1577, ITEM, transforms=("stream.zstd/1",)),
    Tensor("lr\n", "", (), "__0_0.distcp", 1577, 1600, ITEM),
)


def test_each_tensor_has_a_line_that_says_what_it_is_and_where() -> None:
    assert [line.split() for line in tensor_lines(ROWS)] == [
        ["TENSOR", "TYPE", "SHAPE", "SIZE", "AT", "UNIT"],
        ["a.weight", "BF16", "[4096,2]", "16", "KiB", "100", "m.safetensors"],
        ["step", "int64", "[]", "1.54", "KiB", "0", "__0_0.distcp,", "stream.zstd/1"],
        ["lr\\n", "-", "-", "23", "B", "1577", "__0_0.distcp"],
    ]
    assert max(map(len, tensor_lines(ROWS, 60))) <= 60
