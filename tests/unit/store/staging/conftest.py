"""A root, and in it the staging directory of a recovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.staging.directories import (
    make_staging,
)
from ckptd.store.staging.preparing import create_files
from ckptd.store.staging.whole_units import is_whole, write_whole
from tests.support.stagings import (
    STAGED_CONTENTS,
    Site,
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, STAGED_CONTENTS)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    """The staging directory of ``r-1``, with all files; what came whole has its content."""
    made = make_staging(site.root, ".ckptd/r-1")
    create_files(made, site.space.manifest, ())
    with Names(made) as names:
        for unit in filter(is_whole, site.space.manifest.units):
            write_whole(names, unit, memoryview(STAGED_CONTENTS[unit.path]))
    yield made
    made.close()
