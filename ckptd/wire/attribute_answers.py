"""How an attribute document travels: its signatures, an empty line, its bytes.

The lines are those of :mod:`ckptd.wire.signature_lines`, none if nobody signed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.errors import ProtocolViolation
from ckptd.limits import (
    SIGNATURE_DOCUMENT_BYTES_MAX,
    SIGNATURE_LINE_BYTES,
    SIGNATURES_MAX,
)
from ckptd.model.signatures import Signature
from ckptd.wire.signature_lines import decode_signatures, encode_signatures

_END_OF_LINES: Final = b"\n"


def answer_bytes_max(document_bytes_max: int) -> int:
    """Return how long an answer can be whose document has at most so many bytes."""
    return SIGNATURE_DOCUMENT_BYTES_MAX + len(_END_OF_LINES) + document_bytes_max


def encode_answer(document: bytes, signatures: Iterable[Signature]) -> bytes:
    """Encode a document with its signatures, at most ``SIGNATURES_MAX`` of them."""
    return b"".join((encode_signatures(signatures), _END_OF_LINES, document))


def decode_answer(data: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """Take an answer apart; the document is not looked at.

    Raises:
        ProtocolViolation: Not such an answer.
    """
    for count in range(SIGNATURES_MAX + 1):
        at = count * SIGNATURE_LINE_BYTES
        if data[at : at + len(_END_OF_LINES)] == _END_OF_LINES:
            return data[at + len(_END_OF_LINES) :], decode_signatures(data[:at])
    raise ProtocolViolation(
        "answer with an attribute document", "has no empty line behind its signatures"
    )
