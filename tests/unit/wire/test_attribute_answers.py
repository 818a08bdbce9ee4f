from __future__ import annotations

import pytest

from ckptd.errors import ProtocolViolation
from ckptd.model.signatures import KeyId, Signature
from ckptd.wire.attribute_answers import answer_bytes_max, decode_answer, encode_answer

SIGNATURES = tuple(Signature(KeyId(f"{key:016x}"), bytes([key]) * 64) for key in range(9))


@pytest.mark.parametrize("count", [0, 1, 8])
@pytest.mark.parametrize("document", [b"", b"\n", b"\x84document\n"])
def test_an_answer_is_a_document_behind_its_signatures(count: int, document: bytes) -> None:
    answer = encode_answer(document, SIGNATURES[:count])
    assert decode_answer(answer) == (document, SIGNATURES[:count])
    assert len(answer) <= answer_bytes_max(len(document))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "has no empty line"),
        (b"\x84document", "has no empty line"),
        (encode_answer(b"document", SIGNATURES), "has no empty line"),
        (encode_answer(b"", SIGNATURES[:1])[:-1], "has no empty line"),
        (encode_answer(b"", SIGNATURES[:1] * 2), "two signatures"),
        (b"x" * 146 + b"\ndocument", "a line that is no signature"),
    ],
)
def test_whatever_else_comes_is_refused(answer: bytes, problem: str) -> None:
    with pytest.raises(ProtocolViolation, match=problem):
        decode_answer(answer)
