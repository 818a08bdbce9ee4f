"""A root: with a version in it that is published and served, or with a staging directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.serving import ServedVersion
from ckptd.store.staging.preparing import create_files
from ckptd.store.trees.directories import make_staging
from ckptd.store.trees.whole_units import is_whole, write_whole
from tests.support.stagings import STAGED_CONTENTS, Site
from tests.support.stores import (
    SERVED_CONTENTS,
    open_descriptors,
    publish,
    served_from,
    write_files,
)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    yield opened
    opened.close()


@pytest.fixture
def hashed(root: Root, inside: Path) -> HashedDirectory:
    write_files(inside / "v1", SERVED_CONTENTS)
    return publish(root, "v1")


@pytest.fixture
def served(root: Root, hashed: HashedDirectory) -> Iterator[ServedVersion]:
    before = open_descriptors()
    yield served_from(root, hashed)
    assert open_descriptors() == before, "a descriptor was left open"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, STAGED_CONTENTS)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    """The staging directory of ``r-1``, with all files; what came whole has its content."""
    made = make_staging(site.root, ".ckptd/r-1")
    create_files(made, site.space, ())
    with Names(made) as names:
        for unit in filter(is_whole, site.space.manifest.units):
            write_whole(names, unit, memoryview(STAGED_CONTENTS[unit.path]))
    yield made
    made.close()
