"""What can be asked for: the targets of requests, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from ckptd.errors import ProtocolViolation, UsageError
from ckptd.model.ids import Digest, parse_digest


@dataclass(frozen=True, slots=True)
class HoldingsTarget:
    """What the node holds."""

    path: ClassVar = "/v1/holdings"


@dataclass(frozen=True, slots=True)
class _DigestTarget:
    """Something of one manifest: its digest stands behind a prefix."""

    digest: Digest

    prefix: ClassVar[str]

    @property
    def path(self) -> str:
        """The request target."""
        return self.prefix + self.digest


class ManifestTarget(_DigestTarget):
    """One encoded manifest."""

    __slots__ = ()
    prefix = "/v1/manifests/"


class SignaturesTarget(_DigestTarget):
    """The signatures of one manifest."""

    __slots__ = ()
    prefix = "/v1/signatures/"


class AttributesTarget(_DigestTarget):
    """The attribute document of one manifest."""

    __slots__ = ()
    prefix = "/v1/attributes/"


class VersionTarget(_DigestTarget):
    """The address space of one version."""

    __slots__ = ()
    prefix = "/v1/checkpoints/"


Target: TypeAlias = (
    HoldingsTarget | ManifestTarget | SignaturesTarget | AttributesTarget | VersionTarget
)

_OF_A_DIGEST: Final = (ManifestTarget, SignaturesTarget, AttributesTarget, VersionTarget)


def parse_target(text: str) -> Target:
    """Read a request target.

    Raises:
        ProtocolViolation: Status 400: it has a query. Status 404: there is no such thing.
    """
    if "?" in text:
        raise ProtocolViolation(f"target {text[:160]!r}", "has a query", "Leave it out.")
    if text == HoldingsTarget.path:
        return HoldingsTarget()
    for target in _OF_A_DIGEST:
        if text.startswith(target.prefix):
            try:
                return target(parse_digest(text.removeprefix(target.prefix)))
            except UsageError as error:
                raise ProtocolViolation(error.subject, error.problem, status=404) from error
    raise ProtocolViolation(f"target {text[:160]!r}", "does not exist", status=404)
