"""The index of sharded weights."""

from __future__ import annotations

import pytest

from ckptd.errors import InvalidFormat
from ckptd.model.formats.weight_index import decode_index


def test_it_says_which_file_has_a_tensor() -> None:
    content = b'{"metadata": {"total_size": 8}, "weight_map": {"a": "m-1.safetensors"}}'
    assert decode_index(content, "i.json") == {"a": "m-1.safetensors"}
    assert decode_index(b"{}", "i.json") == {}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"weight_map": {"a": 1}}', b"\xff", b"[" * 10**5]
)
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFormat, match="is not the index that it should be"):
        decode_index(content, "i.json")
