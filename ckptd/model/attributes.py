"""The attribute document: modes and modification times of the files and directories of a version.

It stands beside the manifest, as signatures do: nodes that publish the same bytes keep one identity
whatever their umask and clock. So there can be several for one version, and whoever gets more than
one chooses by :func:`narrowest`, which does not depend on who answered first.

Two columns, one entry for each unit in the manifest's order, then one for each directory in the
order of :func:`directories_in`. Owners are never in it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import msgspec

from ckptd.errors import ProtocolViolation
from ckptd.limits import ATTRIBUTES_BYTES_MAX, ATTRIBUTES_ENTRY_BYTES, DIGEST_BYTES
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest

FORMAT: Final = 1

FILE_MODE_BITS: Final = 0o777
"""No setuid, setgid or sticky bit: none of a file ever comes from elsewhere."""
DIRECTORY_MODE_BITS: Final = 0o3777
"""The setgid bit hands the group on, the sticky bit keeps others from renaming."""

_EARLIEST_NS: Final = -(2**63)
_FRAME_BYTES_MAX: Final = 128
"""What an encoded document takes beside its entries."""


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is encoded."""

    format: int
    manifest: bytes
    modes: bytes
    times: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """A document that was checked against its manifest.

    Attributes:
        encoded: Its bytes; what is signed, kept and sent on.
        directories: The paths that the entries behind those of the units are of.
    """

    encoded: bytes
    directories: tuple[str, ...]
    _modes: array[int]
    _times: array[int]

    @property
    def unit_count(self) -> int:
        """How many entries are of units: those before the directories."""
        return len(self._modes) - len(self.directories)

    def mode(self, entry: int) -> int:
        """Return the mode bits of a unit by its index, or of a directory behind them."""
        return self._modes[entry]

    def mtime_ns(self, entry: int) -> int:
        """Return when it was modified, in Unix time."""
        return self._times[entry]

    @property
    def breadth(self) -> tuple[int, int, bytes]:
        """How much it grants, then how late it is, then its bytes: no two are equal in all."""
        granted = int.from_bytes(self._modes.tobytes(), "big").bit_count()
        return granted, max(self._times), self.encoded


def narrowest(documents: Iterable[Attributes]) -> Attributes | None:
    """Return the document that grants least; of several the one whose latest time is earliest."""
    return min(documents, key=lambda document: document.breadth, default=None)


def directories_in(manifest: Manifest) -> tuple[str, ...] | None:
    """Return the directories of a version, its own first, which is ``""``, then by path.

    Returns:
        ``None`` if there are more than a document can have.
    """
    entries_max = ATTRIBUTES_BYTES_MAX // ATTRIBUTES_ENTRY_BYTES - len(manifest.units)
    found = {""}
    of_links = (link.path.rpartition("/")[0] for link in manifest.links)
    of_units = (unit.path.rpartition("/")[0] for unit in manifest.units)
    for innermost in chain(of_links, manifest.directories, of_units):
        directory = innermost
        while directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
        if len(found) > entries_max:
            return None
    return tuple(sorted(found))


def encoded_bytes_max(manifest: Manifest) -> int:
    """Return how long a document of a manifest can be; 0: it has none, for it would be too long."""
    directories = directories_in(manifest)
    if directories is None:
        return 0
    return _FRAME_BYTES_MAX + (len(manifest.units) + len(directories)) * ATTRIBUTES_ENTRY_BYTES


def encode_attributes(digest: Digest, modes: Sequence[int], times_ns: Sequence[int]) -> bytes:
    """Encode; equal attributes give equal bytes.

    Args:
        digest: Of the manifest.
        modes: Of units and directories; only the bits that a document can have count.
        times_ns: When they were modified, in Unix time.
    """
    return msgspec.msgpack.encode(
        _Document(
            format=FORMAT,
            manifest=bytes.fromhex(digest),
            modes=_big_endian(array("H", modes)).tobytes(),
            times=_big_endian(array("q", times_ns)).tobytes(),
        )
    )


def decode_attributes(data: bytes, digest: Digest, manifest: Manifest) -> Attributes:
    """Decode and check a document from anywhere.

    Args:
        data: Its bytes.
        digest: Of which manifest it must be.
        manifest: That manifest.

    Raises:
        ProtocolViolation: A rule is broken, or it is of another manifest.
    """
    directories = directories_in(manifest)
    if directories is None or len(data) > encoded_bytes_max(manifest):
        raise _invalid(f"has {len(data)} bytes, more than one of this manifest may have")
    try:
        document = msgspec.msgpack.decode(data, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid(f"cannot be decoded: {str(error)[:200]}") from error
    if document.format != FORMAT:
        raise _invalid(f"has format {document.format}, and only {FORMAT} is known")
    if len(document.manifest) != DIGEST_BYTES or document.manifest.hex() != digest:
        raise _invalid("is of another manifest")
    entries = len(manifest.units) + len(directories)
    modes, times = array("H"), array("q")
    if (len(document.modes), len(document.times)) != (
        entries * modes.itemsize,
        entries * times.itemsize,
    ):
        raise _invalid("does not have one mode and one time for each file and directory")
    modes.frombytes(document.modes)
    times.frombytes(document.times)
    _big_endian(modes)
    _big_endian(times)
    unit_count = len(manifest.units)
    if (
        max(modes[:unit_count], default=0) > FILE_MODE_BITS
        or max(modes[unit_count:]) > DIRECTORY_MODE_BITS
    ):
        raise _invalid("has a mode with bits that never come from elsewhere")
    return Attributes(data, directories, modes, times)


def join_attributes(
    digest: Digest, manifest: Manifest, parts: Sequence[tuple[Attributes, Sequence[int]]]
) -> Attributes:
    """Return the attributes of a joined manifest.

    What several members have gets no more than each of them grants.

    Args:
        digest: Of the joined manifest.
        manifest: That manifest.
        parts: Of each member its attributes, and which unit of the manifest each of its units is.
    """
    directories = directories_in(manifest) or ("",)
    unit_count = len(manifest.units)
    entry_of = {path: unit_count + at for at, path in enumerate(directories)}
    modes = array("H", [DIRECTORY_MODE_BITS]) * (unit_count + len(directories))
    modes[:unit_count] = array("H", [FILE_MODE_BITS]) * unit_count
    times = array("q", [_EARLIEST_NS]) * len(modes)
    for attributes, units in parts:
        below = (entry_of[path] for path in attributes.directories)
        for entry, joined in enumerate(chain(units, below)):
            modes[joined] &= attributes.mode(entry)
            times[joined] = max(times[joined], attributes.mtime_ns(entry))
    return Attributes(encode_attributes(digest, modes, times), directories, modes, times)


def _big_endian(column: array[int]) -> array[int]:
    """Swap a column's bytes where this machine has them the other way round."""
    if sys.byteorder == "little":
        column.byteswap()
    return column


def _invalid(problem: str) -> ProtocolViolation:
    return ProtocolViolation("attribute document", problem)
