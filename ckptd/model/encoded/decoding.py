"""Decodes manifests from anywhere, in little memory and without long calls.

Any bytes: the digest of a manifest says that it is the one that was asked for, and nothing about
who made it. What is returned keeps the bytes, and reads units from them when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ckptd.errors import InvalidManifest, NewerManifest
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.bare_names import SymbolicLink
from ckptd.model.encoded.outline import outline_of
from ckptd.model.encoded.units import EncodedUnits
from ckptd.model.manifest import (
    FORMAT,
    ONE_PHASE,
    REQUIRED_FEATURES,
    Manifest,
    check_manifest,
    encode_manifest,
)

_NEWER = "Use a ckptd that is as new as the publisher's."


class _Terms(msgspec.Struct):
    """What must be known before anything else of a manifest is read."""

    format: int
    requires: tuple[str, ...] = ()


class _Words(msgspec.Struct, kw_only=True):
    """A manifest without its units."""

    format: int
    checkpoint: str
    version: int
    requires: tuple[str, ...] = ()
    run: str = ""
    created_at_s: int = 0
    annotations: dict[str, str] = {}
    phases: tuple[str, ...] = ONE_PHASE
    links: tuple[SymbolicLink, ...] = ()
    directories: tuple[str, ...] = ()


def decode_manifest(data: bytes | memoryview) -> Manifest:
    """Decode and check a manifest from anywhere.

    Counts and sizes are compared with the limits before anything is allocated for them.

    Raises:
        InvalidManifest: Not a manifest, or one that breaks a rule; the problem says which.
    """
    manifest = read_manifest(data)
    with _refusing():
        check_manifest(manifest)
    return manifest


def read_manifest(data: bytes | memoryview) -> Manifest:
    """Decode a manifest that was checked before; its rules are not checked again.

    Raises:
        InvalidManifest: Not a manifest.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise _invalid(f"has {len(data)} bytes, more than {MANIFEST_BYTES_MAX}")
    view = memoryview(data)
    outline = outline_of(view)
    with _refusing():
        _check_terms(msgspec.msgpack.decode(outline.words, type=_Terms))
        words = msgspec.msgpack.decode(outline.words, type=_Words)
    if outline.starts is None:
        raise _invalid("cannot be decoded: it has no list of units")
    return Manifest(
        format=words.format,
        checkpoint=words.checkpoint,
        version=words.version,
        units=EncodedUnits(view, outline.starts),
        requires=words.requires,
        run=words.run,
        created_at_s=words.created_at_s,
        annotations=words.annotations,
        phases=words.phases,
        links=words.links,
        directories=words.directories,
    )


def encoding_of(manifest: Manifest) -> bytes | memoryview:
    """Return the bytes of a manifest: those that it was decoded from, if it was."""
    units = manifest.units
    return units.data if isinstance(units, EncodedUnits) else encode_manifest(manifest)


def _check_terms(terms: _Terms) -> None:
    if terms.format != FORMAT:
        raise _newer(f"has format {terms.format}; this ckptd reads format {FORMAT}")
    unknown = [name for name in terms.requires if name not in REQUIRED_FEATURES]
    if unknown:
        names = ", ".join(name[:40] for name in sorted(unknown)[:5])
        raise _newer(f"requires {names!r}, which this ckptd does not know")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn the errors of a decoder into a refusal."""
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"cannot be decoded: {str(error)[:200]}") from error


def _newer(problem: str) -> NewerManifest:
    return NewerManifest("manifest", problem, _NEWER)


def _invalid(problem: str) -> InvalidManifest:
    return InvalidManifest("manifest", problem)
