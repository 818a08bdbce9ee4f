"""What can be asked for: the targets of requests, in both directions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from ckptd.errors import ProtocolViolation, UsageError
from ckptd.model.blocks import BlockRun
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


@dataclass(frozen=True, slots=True)
class CodedTarget:
    """Some blocks of a version, in fewer bytes where the source can make that of them."""

    digest: Digest
    blocks: BlockRun

    prefix: ClassVar = "/v1/coded/"

    @property
    def path(self) -> str:
        """The request target; the last block counts, as in byte ranges."""
        return f"{self.prefix}{self.digest}?blocks={self.blocks.start}-{self.blocks.end - 1}"


Target: TypeAlias = (
    HoldingsTarget
    | ManifestTarget
    | SignaturesTarget
    | AttributesTarget
    | VersionTarget
    | CodedTarget
)

_OF_A_DIGEST: Final = (ManifestTarget, SignaturesTarget, AttributesTarget, VersionTarget)


_CODED: Final = re.compile(r"([0-9a-f]{64})\?blocks=([0-9]{1,10})-([0-9]{1,10})", re.ASCII)


def parse_target(text: str) -> Target:
    """Read a request target.

    Raises:
        ProtocolViolation: Status 400: it has a query. Status 404: there is no such thing.
    """
    if text.startswith(CodedTarget.prefix):
        return _parse_coded(text)
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


def _parse_coded(text: str) -> CodedTarget:
    found = _CODED.fullmatch(text.removeprefix(CodedTarget.prefix))
    if found is None or int(found[2]) > int(found[3]):
        hint = "Ask for blocks=FIRST-LAST of a digest."
        raise ProtocolViolation(f"target {text[:160]!r}", "does not say which blocks", hint)
    return CodedTarget(parse_digest(found[1]), BlockRun(int(found[2]), int(found[3]) + 1))
