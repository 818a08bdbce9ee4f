"""A catalog with one version of three units, and what is read of it again."""

import os
from pathlib import Path

import pytest

from ckptd.daemon.keep.reads import Reads
from ckptd.model.ids import Digest
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import Place


class Held:
    """A version in a catalog, and its files."""

    def __init__(self, catalog: Catalog, roots: Roots, hashed: HashedDirectory) -> None:
        self.catalog = catalog
        self.roots = roots
        self.hashed = hashed
        self.directory = Path(roots.default().path, hashed.directory)
        self.units = {unit.path: number for number, unit in enumerate(hashed.manifest.units)}

    @property
    def digest(self) -> Digest:
        return self.hashed.digest

    @property
    def number(self) -> int:
        return self.place.number

    @property
    def place(self) -> Place:
        held = self.catalog.held(self.digest)
        assert held
        return held.main

    def suspect(self, *paths: str) -> None:
        self.catalog.mark_suspect(self.number, [self.units[path] for path in paths], "touched")

    async def settle_right(self, path: str) -> None:
        """Let the catalog know that a unit is right as it looks now."""
        file = self.hashed.files[self.units[path]]
        assert file
        looks = file._replace(fingerprint=fingerprint_of(self.facts(path)))
        await self.catalog.settle(self.number, {self.units[path]: looks}, {})

    def path(self, path: str) -> Path:
        return Path(self.directory, path)

    def write(self, path: str, content: bytes) -> None:
        self.path(path).write_bytes(content)

    def remove(self, path: str) -> None:
        self.path(path).unlink()

    def facts(self, path: str) -> os.stat_result:
        return self.path(path).stat()


@pytest.fixture
async def held(catalog: Catalog, root: Root, hashed: HashedDirectory) -> Held:
    await catalog.add(hashed)
    return Held(catalog, Roots([root]), hashed)


@pytest.fixture
def reads(catalog: Catalog) -> Reads:
    return Reads(catalog)
