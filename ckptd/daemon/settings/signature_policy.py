"""Which signatures count on this node, and the one it makes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ckptd.config.sections import SignaturesSection
from ckptd.errors import ConfigurationError, NotSigned
from ckptd.model.ids import CheckpointName
from ckptd.model.signatures import (
    KeyId,
    Signable,
    SignableAttributes,
    SignableManifest,
    Signature,
)
from ckptd.store.files.keys import Patterns, SigningKey, TrustedKey, read_trusted_keys


@dataclass(frozen=True, slots=True)
class _Rules:
    """All of it as one value, so that a reload changes everything at once."""

    key: SigningKey | None
    trusted: Mapping[KeyId, TrustedKey]
    required: Patterns

    @classmethod
    def read(cls, section: SignaturesSection) -> _Rules:
        trusted = read_trusted_keys(section.trusted) if section.trusted else {}
        if section.require and not trusted:
            raise ConfigurationError(
                f"trusted keys {section.trusted}",
                "names no key, and signatures.require asks for one",
                "Add one with 'ckptctl keys trust'.",
            )
        key = SigningKey.read(section.key) if section.key else None
        return cls(key, trusted, Patterns(section.require))


class SignaturePolicy:
    """The section ``[signatures]`` with the files that it names. Usable from any thread.

    Raises:
        ConfigurationError: A file cannot be used.
    """

    def __init__(self, section: SignaturesSection) -> None:
        self._rules = _Rules.read(section)

    def prepare(self, section: SignaturesSection) -> Callable[[], None]:
        """Read the files of another section; blocks for a few small files.

        Returns:
            What takes it over: does not wait and does not fail. Recoveries that have their
            manifest go on with it.

        Raises:
            ConfigurationError: A file cannot be used; nothing was changed.
        """
        rules = _Rules.read(section)

        def switch() -> None:
            self._rules = rules

        return switch

    @property
    def has_trusted_keys(self) -> bool:
        """Whether any signature can count: without, nobody need be asked for one."""
        return bool(self._rules.trusted)

    def sign(self, manifest: bytes | memoryview) -> tuple[Signature, ...]:
        """Sign an encoded manifest, if this node has a key. Hashes all of it."""
        key = self._rules.key
        return () if key is None else (key.sign(manifest),)

    def sign_attributes(self, document: bytes) -> tuple[Signature, ...]:
        """Sign an attribute document, if this node has a key. Hashes all of it."""
        key = self._rules.key
        return () if key is None else (key.sign_attributes(document),)

    def verify(
        self,
        manifest: SignableManifest,
        signatures: tuple[Signature, ...],
        checkpoint: CheckpointName,
    ) -> tuple[Signature, ...]:
        """Verify the signatures of a manifest whose bytes nobody has looked at yet.

        Hashes the manifest once for each signature by a trusted key.

        Args:
            manifest: The encoded manifest.
            signatures: What its source says are signatures of it.
            checkpoint: What the manifest is wanted for.

        Returns:
            Those by trusted keys. Others may be anything; they are not kept and not served on.

        Raises:
            NotSigned: A trusted key did not make the signature in its name, or there is none
                that counts for a checkpoint that requires one.
        """
        return self._verify(f"manifest for {checkpoint}", manifest, signatures, checkpoint)

    def verify_attributes(
        self, document: bytes, signatures: tuple[Signature, ...], checkpoint: CheckpointName
    ) -> tuple[Signature, ...]:
        """Verify the signatures of an attribute document that nobody has looked at yet.

        It must be signed where manifests must be; hashes it once for each trusted key.

        Args:
            document: Its bytes.
            signatures: What its source says are signatures of it.
            checkpoint: What it is wanted for.

        Returns:
            Those by trusted keys.

        Raises:
            NotSigned: As for a manifest.
        """
        signable = SignableAttributes.of(document)
        return self._verify(f"attributes for {checkpoint}", signable, signatures, checkpoint)

    def _verify(
        self,
        subject: str,
        signable: Signable,
        signatures: tuple[Signature, ...],
        checkpoint: CheckpointName,
    ) -> tuple[Signature, ...]:
        rules = self._rules
        verified: list[Signature] = []
        for signature in signatures:
            key = rules.trusted.get(signature.key)
            if key is None:
                continue
            if not key.public.has_signed(signable, signature):
                problem = f"has a signature that the key {signature.key} never made"
                raise NotSigned(subject, problem, is_lie=True)
            verified.append(signature)
        if self._is_met(rules, verified, checkpoint):
            return tuple(verified)
        if verified:
            problem = "is signed only by keys that may not sign this checkpoint"
        else:
            problem = (
                "is signed only by keys that nobody here trusts" if signatures else "is unsigned"
            )
        raise NotSigned(
            subject,
            f"{problem}, and signatures.require asks for a signature",
            "'ckptctl keys show' lists the keys that are trusted.",
            is_lie=bool(signatures),
        )

    def counts(self, signatures: tuple[Signature, ...], checkpoint: CheckpointName) -> bool:
        """Tell whether verified signatures are all that a checkpoint requires."""
        return self._is_met(self._rules, signatures, checkpoint)

    def is_trusted(self, signatures: Iterable[Signature], checkpoint: CheckpointName) -> bool:
        """Tell whether a trusted key that may sign a checkpoint made one of some signatures.

        Args:
            signatures: Verified ones.
            checkpoint: What they are on.
        """
        return self._is_by_trusted(self._rules, signatures, checkpoint)

    @classmethod
    def _is_met(
        cls, rules: _Rules, verified: Iterable[Signature], checkpoint: CheckpointName
    ) -> bool:
        is_required = rules.required.match(checkpoint)
        return not is_required or cls._is_by_trusted(rules, verified, checkpoint)

    @staticmethod
    def _is_by_trusted(
        rules: _Rules, verified: Iterable[Signature], checkpoint: CheckpointName
    ) -> bool:
        return any(
            signature.key in rules.trusted and rules.trusted[signature.key].may_sign(checkpoint)
            for signature in verified
        )
