"""The document of the signatures of a manifest.

One line for each: key id, a space, 128 hexadecimal digits, a newline. All of it is fixed: there
is one way to write a signature, and whatever is not written so is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ckptd.errors import ProtocolViolation
from ckptd.limits import SIGNATURE_DOCUMENT_BYTES_MAX, SIGNATURE_LINE_BYTES
from ckptd.model.signatures import KeyId, Signature

_LINE: Final = re.compile(rb"([0-9a-f]{16}) ([0-9a-f]{128})\n")


def encode_signatures(signatures: Iterable[Signature]) -> bytes:
    """Encode signatures, at most ``SIGNATURES_MAX`` of them, each by another key."""
    return b"".join(f"{key} {value.hex()}\n".encode() for key, value in signatures)


def decode_signatures(data: bytes) -> tuple[Signature, ...]:
    """Decode and check a document from anywhere.

    Raises:
        ProtocolViolation: Not such a document, or one with two signatures by one key.
    """
    if len(data) > SIGNATURE_DOCUMENT_BYTES_MAX or len(data) % SIGNATURE_LINE_BYTES:
        raise _violation(f"has {len(data)} bytes")
    signatures: dict[KeyId, Signature] = {}
    for start in range(0, len(data), SIGNATURE_LINE_BYTES):
        line = _LINE.fullmatch(data, start, start + SIGNATURE_LINE_BYTES)
        if line is None:
            raise _violation("has a line that is no signature")
        key = KeyId(line[1].decode())
        if key in signatures:
            raise _violation(f"has two signatures by the key {key}")
        signatures[key] = Signature(key, bytes.fromhex(line[2].decode()))
    return tuple(signatures.values())


def _violation(problem: str) -> ProtocolViolation:
    return ProtocolViolation("signature document", problem)
