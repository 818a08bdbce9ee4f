"""Bytes leave as they were compared, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.daemon.answer.verified_bytes import places_of, read_held, read_staged
from ckptd.errors import CkptdError, ContentChanged, NotFound
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.serving import ServedPlace, ServedVersion

UNIT = "weights.bin"


def unit_of(hashed: HashedDirectory) -> int:
    return next(i for i, unit in enumerate(hashed.manifest.units) if unit.path == UNIT)


def test_a_block_that_is_missing_in_a_file_of_full_length_is_never_zeros(
    root: Root, hashed: HashedDirectory
) -> None:
    space = AddressSpace(hashed.manifest)
    unit = unit_of(hashed)
    places = places_of(space, *space.unit_run(unit))
    path = f"v100/{UNIT}"
    right = Path(root.path, path).read_bytes()
    assert bytes(read_staged(root, path, places)) == right
    with Path(root.path, path).open("r+b") as file:
        file.truncate(0)
        file.truncate(len(right))
    with pytest.raises(ContentChanged):
        read_staged(root, path, places)
    with Path(root.path, path).open("r+b") as file:
        file.truncate(10)
    with pytest.raises(ContentChanged):
        read_staged(root, path, places)
    Path(root.path, path).unlink()
    with pytest.raises(NotFound):
        read_staged(root, path, places)


def test_what_stands_here_is_compared_too(root: Root, hashed: HashedDirectory) -> None:
    served = ServedVersion([ServedPlace(1, root, hashed)])
    unit = unit_of(hashed)
    places = places_of(served.space, *served.space.unit_run(unit))
    path = Path(root.path, "v100", UNIT)
    assert bytes(read_held(served, places, UNIT)) == path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"!")
    with pytest.raises(CkptdError):
        read_held(served, places, UNIT)
