"""What hashing the files of a directory gives, in columns: the units of the manifest to come.

As objects the units and files of half a million take 340 MiB; here 75 bytes each, and the digests
of blocks of those that have several.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ckptd.limits import DIGEST_BYTES
from ckptd.model.attributes import FILE_MODE_BITS
from ckptd.model.formats.element_types import ELEMENTS_FACT
from ckptd.model.manifest import OPTIONAL_FLAG, Unit, block_size_for
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.candidates import Candidate, Candidates

_OWNER_EXECUTES = 0o100


class HashedFiles:
    """Files as they are hashed, one after another, by several threads.

    Args:
        candidates: All that are to be hashed.

    Attributes:
        files: One for each unit, in the order of the manifest.
        modes: Of each of them, as it was then.
    """

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._order = candidates.in_urgency_order()
        self._units = array("I", bytes(4 * len(candidates)))  # by number of a candidate
        for unit, number in enumerate(self._order):
            self._units[number] = unit
        self._digests = bytearray(DIGEST_BYTES * len(candidates))
        self._of_blocks: dict[int, bytes] = {}
        self._elements: dict[int, str] = {}
        self.files = UnitFiles.of_none(len(candidates))
        self.modes = array("H", bytes(2 * len(candidates)))

    def take(
        self,
        candidate: Candidate,
        found: Fingerprint,
        mode: int,
        digests: tuple[bytes, bytes],
        elements: str = "",
    ) -> None:
        """Take in a file that was hashed.

        Args:
            candidate: Which one.
            found: What it was meanwhile.
            mode: Its mode then.
            digests: Its own, and those of its blocks.
            elements: The fact of which types they are; empty: nothing is said of that.
        """
        unit = self._units[candidate.number]
        whole, of_blocks = digests
        self._digests[unit * DIGEST_BYTES : (unit + 1) * DIGEST_BYTES] = whole
        if len(of_blocks) > DIGEST_BYTES:
            self._of_blocks[unit] = of_blocks
        if elements:
            self._elements[unit] = elements
        self.files[unit] = UnitFile(found, candidate.place if candidate.is_symlink else "")
        self.modes[unit] = mode & FILE_MODE_BITS

    def units(self) -> Iterator[Unit]:
        """Yield what the manifest says of each, in its order."""
        for unit, number in enumerate(self._order):
            candidate, size_bytes = self._candidates[number], self.files.facts(unit)[1]
            digest = bytes(self._digests[unit * DIGEST_BYTES : (unit + 1) * DIGEST_BYTES])
            words = candidate.words
            yield Unit(
                path=candidate.path,
                size_bytes=size_bytes,
                digest=digest,
                block_size_bytes=block_size_for(size_bytes),
                block_digests=self._of_blocks.get(unit) or (digest if size_bytes else b""),
                criticality=words.criticality,
                phase=words.phase,
                is_executable=bool(self.modes[unit] & _OWNER_EXECUTES),
                after=tuple(sorted(self._units[number] for number in words.after)),
                flags=(OPTIONAL_FLAG,) if words.is_optional else (),
                facts={ELEMENTS_FACT: self._elements[unit]} if unit in self._elements else {},
            )
