"""Versions that stand at places already, and what can have happened to them."""

from __future__ import annotations

import os
from pathlib import Path

from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees.standing_files import KnownPlace
from tests.support.stagings import TARGET, Site


def stand(site: Site, target: str = TARGET) -> KnownPlace:
    """Let the version stand at a place, and return it as the catalog would know it."""
    for path, content in site.contents.items():
        file = site.path / target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return known(site, target)


def known(site: Site, target: str = TARGET) -> KnownPlace:
    """Record what stands at a place now."""
    files = (site.path / target / unit.path for unit in site.space.manifest.units)
    recorded = (UnitFile(fingerprint_of(file.stat())) if file.exists() else None for file in files)
    return KnownPlace(site.root, target, UnitFiles(recorded))


def flip(path: Path, offset: int = 0) -> None:
    """Change a byte of a file, as anybody can who may write to it."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes((byte[0] ^ 0x40,)))


def inode(path: Path) -> int:
    return os.stat(path).st_ino
