"""What the ranks of the job must have saved, computed from the beginning; nothing of ckptd's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping

from ckptd.cli.demo.fleet.toy_job import advance, begin_with, files_of


class Expected:
    """Knows the digest of every file that a rank saves.

    Args:
        size_bytes: How much each rank has.

    Attributes:
        compared_bytes: How much was read and found right.
    """

    def __init__(self, size_bytes: int) -> None:
        self.compared_bytes = 0
        self._size_bytes = size_bytes
        self._states: dict[int, tuple[int, bytes]] = {}
        self._digests: dict[tuple[int, int], Mapping[str, str]] = {}

    def files(self, rank: int, version: int) -> Mapping[str, str]:
        """Return the SHA-256 digest of each file of a save, by its path. Versions are from 1 on."""
        while (rank, version) not in self._digests:
            step, state = self._states.get(rank, (0, begin_with(self._size_bytes)))
            state = advance(state, rank)
            self._states[rank] = step + 1, state
            self._digests[rank, step + 1] = {
                path: hashlib.sha256(content).hexdigest()
                for path, content in files_of(rank, state).items()
            }
        return self._digests[rank, version]

    def differences(self, directory: str, ranks: Iterable[int], version: int) -> list[str]:
        """Read a directory and return what is not as ranks saved it.

        Args:
            directory: Where it stands.
            ranks: Whose shards stand there, together.
            version: Which version they are.

        Raises:
            OSError: It went while it was read.
        """
        files: dict[str, str] = {}
        for rank in ranks:
            files |= self.files(rank, version)
        found: dict[str, str] = {}
        read_bytes = 0
        for inner, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(inner, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, directory)] = hashlib.file_digest(
                        file, "sha256"
                    ).hexdigest()
                    read_bytes += file.tell()
        wrong = [f"{directory}: {path} is missing" for path in sorted(files.keys() - found.keys())]
        for path, digest in sorted(found.items()):
            if path not in files:
                wrong.append(f"{directory}: {path} was not saved")
            elif digest != files[path]:
                wrong.append(f"{directory}: {path} is not what was saved")
        if not wrong:
            self.compared_bytes += read_bytes
        return wrong
