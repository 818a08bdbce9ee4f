"""The manifest: what one version of a checkpoint consists of, down to the digest of each block.

A manifest is encoded with MessagePack; the BLAKE3 digest of the encoded bytes is the identity
of the version. Units stand in *urgency order*: phase, then criticality, then path. So a low
address is an urgent byte, and many small units are one contiguous run.

Nothing in a manifest is drawn at publishing: nodes that publish the same bytes with the same
words get the same manifest, the same identity, and can serve one recovery together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING, Final

import msgspec

from ckptd.errors import ContradictoryManifest, UsageError
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_BYTES_MIN,
    BLOCKS_PER_UNIT_AIM,
    DIGEST_BYTES,
    MANIFEST_ANNOTATIONS_MAX,
    MANIFEST_BLOCKS_MAX,
    MANIFEST_PHASES_MAX,
    MANIFEST_UNITS_MAX,
    PHASE_NAME_CHARACTERS_MAX,
    UNIT_BYTES_MAX,
)
from ckptd.model.bare_names import (
    DIRECTORIES,
    LINKS,
    BareNamesCheck,
    SymbolicLink,
    required_words,
)
from ckptd.model.ids import parse_checkpoint_name, parse_version
from ckptd.model.prerequisites import PrerequisitesCheck
from ckptd.model.unit_paths import PathTree, check_path, invalid, is_plain
from ckptd.model.words import Criticality

FORMAT: Final = 1

ONE_PHASE: Final = ("all",)
"""The phases of a version whose publisher named none."""

REQUIRED_FEATURES: Final = frozenset((DIRECTORIES, LINKS))
"""Features a manifest may require of its reader; those that this version knows."""

OPTIONAL_FLAG: Final = "optional"
"""Among the flags of a unit: a version is complete without it. A reader that does not know the
flag takes the unit as required."""

DIGEST_OF_NOTHING: Final = bytes.fromhex(
    "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
)
"""BLAKE3 of an empty file."""

_PHASE_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{PHASE_NAME_CHARACTERS_MAX - 1}}}")

_BLOCK_SIZES: Final = frozenset(
    1 << power for power in range(BLOCK_BYTES_MIN.bit_length() - 1, BLOCK_BYTES_MAX.bit_length())
)

if TYPE_CHECKING:
    BlockDigests = bytes | memoryview
else:
    BlockDigests = memoryview
    """What decoding makes of them: there may be megabytes, and they need no second copy."""


# There may be very many and no cycles: the collector would only look at them, at each pass.
class Unit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One file of a version.

    Attributes:
        path: Relative, ``/``-separated, UTF-8.
        size_bytes: Length of the content.
        digest: BLAKE3 of the content, as ``b3sum`` prints it, 32 bytes.
        block_size_bytes: A power of two; the last block may be shorter.
        block_digests: One BLAKE3 digest of 32 bytes for each block, concatenated.
        criticality: How urgent it is.
        phase: Index into the manifest's phases.
        is_executable: The owner may execute it.
        after: Indices of its prerequisites, ascending: units that must be visible before it is.
        flags: Marks. :data:`OPTIONAL_FLAG` is one; those that are not known mean nothing.
        facts: Optional facts for later versions. Not used yet.
    """

    path: str
    size_bytes: int
    digest: bytes
    block_size_bytes: int
    block_digests: BlockDigests
    criticality: Criticality = Criticality.NORMAL
    phase: int = 0
    is_executable: bool = False
    after: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    facts: dict[str, str] = {}

    @property
    def block_count(self) -> int:
        """How many blocks; 0 for an empty file."""
        return len(self.block_digests) // DIGEST_BYTES

    @property
    def is_optional(self) -> bool:
        """A version is complete without it; never so for a critical unit."""
        return OPTIONAL_FLAG in self.flags and self.criticality is not Criticality.CRITICAL


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, weakref=True):
    """The immutable description of one version.

    Attributes:
        format: Always 1.
        checkpoint: Name of the checkpoint.
        version: The version, usually the training step.
        requires: Features a reader must know; an unknown one is an error.
        run: Which run of the job saved it; free text.
        created_at_s: Unix time, 0 if the publisher did not state it.
        annotations: Free words.
        phases: Names of the phases, in the order in which they are wanted.
        units: The files, in urgency order.
        links: Symbolic links that lead to names of the version, by path.
        directories: Paths of directories in which there is nothing, in order.
    """

    format: int
    checkpoint: str
    version: int
    units: Sequence[Unit]
    requires: tuple[str, ...] = ()
    run: str = ""
    created_at_s: int = 0
    annotations: dict[str, str] = {}
    phases: tuple[str, ...] = ONE_PHASE
    links: tuple[SymbolicLink, ...] = ()
    directories: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all units; the length of the address space."""
        return sum(unit.size_bytes for unit in self.units)


def block_size_for(size_bytes: int) -> int:
    """Return the block size of a unit: a power of two that makes about 2048 blocks.

    2 GiB → 1 MiB; 16 KiB → 256 KiB (one short block); 1 TiB → 16 MiB.
    """
    wanted = -(-size_bytes // BLOCKS_PER_UNIT_AIM)
    power = 1 << max(wanted - 1, 0).bit_length()
    return min(max(power, BLOCK_BYTES_MIN), BLOCK_BYTES_MAX)


def urgency(unit: Unit) -> tuple[int, int, str]:
    """Return the key by which units are ordered."""
    return (unit.phase, unit.criticality, unit.path)


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode; equal manifests give equal bytes."""
    # A default is left out only if it is that very object.
    phases = ONE_PHASE if manifest.phases == ONE_PHASE else manifest.phases
    manifest = msgspec.structs.replace(manifest, units=tuple(manifest.units), phases=phases)
    return msgspec.msgpack.encode(manifest, order="deterministic")


def check_manifest(manifest: Manifest) -> None:
    """Check every rule a manifest must keep.

    Raises:
        InvalidManifest: A rule is broken.
    """
    try:
        parse_checkpoint_name(manifest.checkpoint)
        parse_version(manifest.version)
    except UsageError as error:
        raise invalid(str(error)) from error
    check_phases(manifest.phases)
    if len(manifest.annotations) > MANIFEST_ANNOTATIONS_MAX:
        raise invalid(f"has more than {MANIFEST_ANNOTATIONS_MAX} annotations")
    if len(manifest.units) > MANIFEST_UNITS_MAX:
        raise invalid(f"has {len(manifest.units)} units, more than {MANIFEST_UNITS_MAX}")
    required = required_words(manifest.links, manifest.directories)
    if manifest.requires != required:
        raise invalid(f"requires {manifest.requires!r} of its reader, and needs {required!r}")
    starts = _check_units(manifest.units, len(manifest.phases))
    if len(starts) > 1 or required:
        _check_tree(manifest, starts)


def is_phase_name(name: str) -> bool:
    """Return whether a phase may be called so."""
    return _PHASE_NAME.fullmatch(name) is not None


def check_phases(phases: Sequence[str]) -> None:
    """Check the names of phases.

    Raises:
        InvalidManifest: There are too many or none, or a name is none, or there twice.
    """
    if not 0 < len(phases) <= MANIFEST_PHASES_MAX:
        raise invalid(f"has {len(phases)} phases, not 1 to {MANIFEST_PHASES_MAX}")
    for index, name in enumerate(phases):
        if not is_phase_name(name):
            raise invalid(
                f"names a phase {name[:80]!r}: not 1 to {PHASE_NAME_CHARACTERS_MAX} "
                "small letters, digits, - and _, the first no sign"
            )
        if name in phases[:index]:
            raise invalid(f"names two phases {name!r}")


def _check_units(units: Sequence[Unit], phase_count: int) -> list[int]:
    """Check each unit and their order, in one pass.

    Returns:
        Where each class of phase and criticality begins. If there is one, its paths are checked
        against each other, too.
    """
    unit_count, digests_bytes = len(units), 0
    class_starts: list[int] = []
    prerequisites: PrerequisitesCheck | None = None
    tree = PathTree()
    previous: Unit | None = None
    for index, unit in enumerate(units):
        _check_unit(unit, phase_count)
        if unit.after:
            prerequisites = prerequisites or PrerequisitesCheck()
            prerequisites.take(index, unit.path, unit.after, unit_count)
        digests_bytes += len(unit.block_digests)
        path = unit.path
        if (
            previous is not None
            and unit.criticality is previous.criticality
            and unit.phase == previous.phase
        ):
            is_behind = path > previous.path
        else:
            is_behind = previous is None or urgency(unit) > urgency(previous)
            class_starts.append(index)
        if not is_behind:
            raise invalid(f"lists {path[:80]!r} twice or out of urgency order")
        if len(class_starts) == 1:
            tree.take(path)
        previous = unit
    block_count = digests_bytes // DIGEST_BYTES
    if block_count > MANIFEST_BLOCKS_MAX:
        raise invalid(f"has {block_count} blocks, more than {MANIFEST_BLOCKS_MAX}")
    if prerequisites is not None:
        prerequisites.finish(class_starts, lambda index: units[index].path)
    return class_starts


def _check_tree(manifest: Manifest, class_starts: Sequence[int]) -> None:
    """Check the paths of all units, links and empty directories against each other.

    Memory: for each class of phase and criticality, and for how deep paths are; for bare names.
    """
    links = [link.path for link in manifest.links]
    bare = BareNamesCheck(manifest.links, manifest.directories)
    ends = [*class_starts[1:], len(manifest.units)]
    of_units = map(partial(_paths, manifest.units), class_starts, ends)
    tree = PathTree()
    for path in merge(*of_units, links, manifest.directories):
        tree.take(path)
        bare.see(path)
    bare.finish()


def _paths(units: Sequence[Unit], start: int, end: int) -> Iterator[str]:
    return (units[index].path for index in range(start, end))


def _check_unit(unit: Unit, phase_count: int) -> None:
    size, block_digests = unit.block_size_bytes, unit.block_digests
    if (
        size in _BLOCK_SIZES
        and 0 <= unit.size_bytes <= UNIT_BYTES_MAX
        and len(block_digests) == -(-unit.size_bytes // size) * DIGEST_BYTES
        and 0 <= unit.phase < phase_count
        and (
            len(unit.digest) == DIGEST_BYTES
            if len(block_digests) > DIGEST_BYTES
            else unit.digest == (bytes(block_digests) or DIGEST_OF_NOTHING)
        )
        and is_plain(unit.path)
    ):
        return  # as nearly all are; what is wrong with another one is found below
    check_path(unit.path)
    shown = repr(unit.path[:80])
    if not 0 <= unit.size_bytes <= UNIT_BYTES_MAX:
        raise invalid(f"gives {shown} a size of {unit.size_bytes} bytes")
    if size not in _BLOCK_SIZES:
        raise invalid(f"gives {shown} blocks of {size} bytes")
    if len(unit.digest) != DIGEST_BYTES:
        raise invalid(f"gives {shown} a digest of {len(unit.digest)} bytes")
    if len(block_digests) != -(-unit.size_bytes // size) * DIGEST_BYTES:
        raise invalid(f"does not give {shown} one digest for each block")
    if len(block_digests) <= DIGEST_BYTES and unit.digest != (block_digests or DIGEST_OF_NOTHING):
        raise contradiction(unit)
    if not 0 <= unit.phase < phase_count:
        raise invalid(f"puts {shown} in phase {unit.phase} of {phase_count}")


def contradiction(unit: Unit) -> ContradictoryManifest:
    """Return the error that a unit cannot have its digest and those of its blocks."""
    return ContradictoryManifest(
        "manifest",
        f"contradicts itself: the digest of {unit.path[:80]!r} is not that of its blocks",
        "It cannot be recovered by anybody: publish the version again, where it came from.",
    )
