"""Detached signatures: what is signed, and by which key.

A manifest is its bytes; a signature is made over those bytes and changes nothing of them, so
that a version has one identity, signed or not, by one key or by several.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final, NamedTuple, NewType, Protocol

from ckptd.limits import MIB

DOMAIN: Final = b"ckptd-manifest-v1\0"
"""Goes before the manifest: a signature made for anything else is none of a manifest."""

ATTRIBUTES_DOMAIN: Final = b"ckptd-attributes-v1\0"
"""Goes before an attribute document, for the same reason."""

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


class Signable(Protocol):
    """What can be signed: bytes behind a domain of their own."""

    @property
    def signed(self) -> bytes:
        """What is signed, the domain and the bytes."""


@dataclass(frozen=True, slots=True)
class SignableAttributes:
    """An attribute document that stands behind its domain.

    Attributes:
        signed: What is signed, the domain and the document.
    """

    signed: bytes

    @classmethod
    def of(cls, document: bytes) -> SignableAttributes:
        """Copy a document behind the domain."""
        return cls(ATTRIBUTES_DOMAIN + document)


@dataclass(frozen=True, slots=True)
class SignableManifest:
    """An encoded manifest that stands behind the domain: neither needs a copy of its own.

    Attributes:
        signed: What is signed, the domain and the manifest.
    """

    signed: bytes

    @classmethod
    def of(cls, manifest: bytes | memoryview) -> SignableManifest:
        """Copy a manifest behind the domain, in pieces: a thread that copies keeps others out."""
        buffer = BytesIO()
        buffer.write(DOMAIN)
        with memoryview(manifest) as view:
            for start in range(0, len(view), MIB):
                buffer.write(view[start : start + MIB])
        return cls(buffer.getvalue())

    @property
    def manifest(self) -> memoryview:
        """The manifest's bytes."""
        return memoryview(self.signed)[len(DOMAIN) :]
