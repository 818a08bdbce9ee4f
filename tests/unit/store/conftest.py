"""A root, and a version in it that is published and served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.serving import ServedVersion
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
