"""Detached signatures: what is signed, and by which key.

A manifest is its bytes; a signature is made over those bytes and changes nothing of them, so
that a version has one identity, signed or not, by one key or by several.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

DOMAIN: Final = b"ckptd-manifest-v1\0"
"""Goes before the manifest: a signature made for anything else is none of a manifest."""

KeyId = NewType("KeyId", str)
"""Which public key: the first 16 hexadecimal digits of its BLAKE3 digest. Not a proof of
anything; a signature counts only if it verifies with a key that is trusted here."""


class Signature(NamedTuple):
    """One signature of a manifest.

    Attributes:
        key: By which key.
        value: The ed25519 signature, 64 bytes.
    """

    key: KeyId
    value: bytes


def signed_bytes(manifest: bytes) -> bytes:
    """Return what is signed: the encoded manifest, and before it the domain."""
    return DOMAIN + manifest
