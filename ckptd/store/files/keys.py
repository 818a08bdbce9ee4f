"""Keys that sign manifests, and what stands in their files: the only place that knows ed25519.

The private key is a file of its own in PEM (PKCS #8, what ``openssl genpkey -algorithm ed25519``
writes). Trusted keys are a text file, one a line::

    ed25519:BASE64 [PATTERN[,PATTERN…]]  # comment

A key with patterns may sign only checkpoints that match one of them. Several keys in the file are
all trusted, so that a new one is trusted everywhere before the first node signs with it.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, KIB
from ckptd.model.signatures import (
    KeyId,
    Signable,
    SignableAttributes,
    SignableManifest,
    Signature,
)
from ckptd.store.files.hashing import digest_of

DEFAULT_KEY: Final = "/etc/ckptd/signing-key"
DEFAULT_TRUSTED: Final = "/etc/ckptd/trusted-keys"

KEYS_MAX: Final = 256
_KEY_FILE_BYTES_MAX: Final = 4 * KIB
TRUSTED_FILE_BYTES_MAX: Final = 64 * KIB
PRIVATE_MODE: Final = 0o600
_PREFIX: Final = "ed25519:"


class Patterns:
    """Patterns of checkpoint names, as of ``fnmatch``; ``*`` matches ``/`` too.

    Attributes:
        texts: As they were written.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        self._matchers = [re.compile(fnmatch.translate(text)) for text in self.texts]

    def match(self, checkpoint: str) -> bool:
        """Return whether any pattern matches a name."""
        return any(matcher.match(checkpoint) for matcher in self._matchers)


class PublicKey:
    """A key that signatures are verified with.

    Attributes:
        text: As people write it, ``ed25519:BASE64``.
        id: Its short name.
    """

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.text = _PREFIX + base64.b64encode(raw).decode()
        self.id = KeyId(digest_of(raw).hex()[:16])

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read a key as people write it.

        Raises:
            UsageError: It is none.
        """
        with suppress(binascii.Error, UnicodeEncodeError, ValueError):
            raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
            key = cls(raw)
            if key.text == text:  # one way to write it
                return key
        raise UsageError(
            f"public key {text[:80]!r}",
            f"is not {_PREFIX} and 32 bytes in base64",
            "'ckptctl keys show' prints the one of a node.",
        )

    def has_signed(self, signable: Signable, signature: Signature) -> bool:
        """Return whether a signature was made with this key. Hashes all that is signed."""
        try:
            self._key.verify(signature.value, signable.signed)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key; what it is never appears in a message or a representation.

    Attributes:
        public: Its other half.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.public = PublicKey(raw)

    @classmethod
    def draw(cls) -> SigningKey:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    def pem(self) -> bytes:
        """Return the key as it is written to its file: a secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @classmethod
    def read(cls, path: str) -> SigningKey:
        """Read a key.

        Raises:
            ConfigurationError: It cannot be read, others may read it, or it is no such key.
        """
        subject = f"signing key {path}"
        data = read_key_file(
            subject, path, _KEY_FILE_BYTES_MAX, forbidden_mode=0o7777 & ~PRIVATE_MODE
        )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(subject, "is no private key in PEM") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(subject, "is no ed25519 key")
        return cls(key)

    def sign(self, manifest: bytes | memoryview) -> Signature:
        """Sign an encoded manifest. Hashes all of it."""
        return self._sign(SignableManifest.of(manifest))

    def sign_attributes(self, document: bytes) -> Signature:
        """Sign an attribute document. Hashes all of it."""
        return self._sign(SignableAttributes.of(document))

    def _sign(self, signable: Signable) -> Signature:
        return Signature(self.public.id, self._key.sign(signable.signed))


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One line of the file.

    Attributes:
        public: The key.
        allowed: What it may sign; ``None``: every checkpoint.
        comment: Whatever stands behind the ``#``.
    """

    public: PublicKey
    allowed: Patterns | None = None
    comment: str = ""

    def may_sign(self, checkpoint: str) -> bool:
        """Return whether a signature by this key counts for a checkpoint."""
        return self.allowed is None or self.allowed.match(checkpoint)

    @property
    def line(self) -> str:
        """The line, without its end."""
        parts = [self.public.text]
        if self.allowed is not None:
            parts.append(",".join(self.allowed.texts))
        if self.comment:
            parts.append(f"# {self.comment}")
        return " ".join(parts)


def parse_trusted_key(line: str) -> TrustedKey:
    """Read one line of the file of trusted keys.

    Raises:
        UsageError: It is not a key, patterns and a comment.
    """
    body, _, comment = line.partition("#")
    key, *rest = body.split() or [""]
    public = PublicKey.parse(key)
    if len(rest) > 1:
        raise UsageError(
            f"key {public.id}",
            "is followed by more than its patterns",
            "Join patterns with ',' and begin a comment with '#'.",
        )
    patterns = rest[0].split(",") if rest else None
    if patterns and not all(0 < len(each) <= CHECKPOINT_NAME_BYTES_MAX for each in patterns):
        raise UsageError(f"key {public.id}", "has a pattern that is empty or too long")
    return TrustedKey(public, Patterns(patterns) if patterns else None, comment.strip())


def parse_trusted_keys(subject: str, data: bytes) -> dict[KeyId, TrustedKey]:
    """Read what is in the file of trusted keys.

    Raises:
        ConfigurationError: A line is wrong, or there are too many.
    """
    keys: dict[KeyId, TrustedKey] = {}
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(subject, "is not UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.partition("#")[0].strip():
            continue
        try:
            key = parse_trusted_key(line)
        except UsageError as error:
            raise ConfigurationError(f"{subject}, line {number}", str(error)) from error
        if key.public.id in keys:
            raise ConfigurationError(f"{subject}, line {number}", "has a key for the second time")
        keys[key.public.id] = key
    if len(data) > TRUSTED_FILE_BYTES_MAX or len(keys) > KEYS_MAX:
        raise ConfigurationError(subject, f"has more than {KEYS_MAX} keys, or is too long")
    return keys


def read_trusted_keys(path: str) -> Mapping[KeyId, TrustedKey]:
    """Read the file of trusted keys.

    Raises:
        ConfigurationError: It cannot be read, anybody may write it, or a line is wrong.
    """
    subject = f"trusted keys {path}"
    data = read_key_file(subject, path, TRUSTED_FILE_BYTES_MAX, forbidden_mode=0o002)
    return parse_trusted_keys(subject, data)


def read_key_file(subject: str, path: str, bytes_max: int, *, forbidden_mode: int) -> bytes:
    """Read a small file that only some users may access.

    Args:
        subject: What an error is about.
        path: Where it is.
        bytes_max: How long it may be.
        forbidden_mode: Permissions that it must not grant.

    Raises:
        ConfigurationError: It cannot be read, grants one of them, is too long, or is no file.
    """
    try:
        # Not to wait for a writer if it is a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(bytes_max + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigurationError(
            subject,
            f"cannot be read: {error.strerror or error}",
            "'ckptctl keys --help' says how to make one.",
        ) from error
    if not stat.S_ISREG(mode):
        raise ConfigurationError(subject, "is no file")
    if mode & forbidden_mode:
        raise ConfigurationError(
            subject,
            f"has the mode {stat.S_IMODE(mode):04o}, which lets others in",
            f"Run: chmod {stat.S_IMODE(mode) & ~forbidden_mode:o} {path}",
        )
    if len(data) > bytes_max:
        raise ConfigurationError(subject, f"has more than {bytes_max} bytes")
    return data
