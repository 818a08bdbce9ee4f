import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptd.errors import ContentChanged
from ckptd.model.blocks import BlockSet
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.serving import ServedVersion, find_changed
from tests.support.stores import (
    SERVED_CONTENTS,
    change_served,
    publish,
    read_served,
    served_from,
    write_files,
)

WHOLE = b"".join(SERVED_CONTENTS.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.integers(0, len(WHOLE))] * 2).filter(lambda pair: pair[0] != pair[1]))
def test_any_range_of_the_address_space_can_be_read(
    served: ServedVersion, ends: tuple[int, int]
) -> None:
    start, end = sorted(ends)
    assert served.holds(start, end)
    assert read_served(served, start, end) == WHOLE[start:end]


def test_the_whole_version_is_held(served: ServedVersion, hashed: HashedDirectory) -> None:
    assert served.digest == hashed.digest
    assert served.size_bytes == len(WHOLE)
    assert served.blocks == BlockSet.full(4)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (5, 4), (-1, 5), (0, len(WHOLE) + 1), (len(WHOLE), len(WHOLE) + 1)]
)
def test_ranges_that_are_none_are_not_held(served: ServedVersion, start: int, end: int) -> None:
    assert not served.holds(start, end)


def test_units_that_were_left_out_are_not_held(root: Root, hashed: HashedDirectory) -> None:
    files = tuple(None if index == 2 else file for index, file in enumerate(hashed.files))
    served = served_from(root, replace(hashed, files=files))
    assert served.blocks == BlockSet([(0, 2), (3, 4)])
    assert served.holds(0, 300_000)
    assert not served.holds(0, 300_001)
    assert not served.holds(300_000, 300_001)
    assert not served.holds(300_001, 300_003)
    assert served.holds(300_002, len(WHOLE))
    assert read_served(served, 300_002, len(WHOLE)) == SERVED_CONTENTS["e"]


def test_a_link_is_served_from_where_it_leads(root: Root, inside: Path) -> None:
    write_files(inside, {"blobs/1": b"content"})
    (inside / "v2").mkdir()
    (inside / "v2/weights").symlink_to("../blobs/1")
    assert read_served(served_from(root, publish(root, "v2")), 0, 7) == b"content"


@pytest.mark.parametrize("how", ["overwrite", "touch", "remove", "replace", "fifo", "link"])
def test_the_first_file_that_changed_is_found(
    root: Root, hashed: HashedDirectory, inside: Path, how: str
) -> None:
    assert find_changed(root, hashed) is None
    os.utime(inside / "v1/c/d")
    change_served(inside, how)
    changed = find_changed(root, hashed)
    assert isinstance(changed, ContentChanged)
    assert changed.subject == f"file {inside}/v1/a"
    assert changed.problem == (
        "was removed" if how == "remove" else "changed since it was published"
    )
    left_out = replace(hashed, files=(None, *hashed.files[1:]))
    found = find_changed(root, left_out)
    assert found is not None
    assert found.subject == f"file {inside}/v1/c/d"


def test_units_that_did_not_change_can_still_be_sent(served: ServedVersion, inside: Path) -> None:
    change_served(inside, "overwrite")
    assert read_served(served, 300_000, 300_002) == b"22"


def test_a_file_that_changes_between_two_pieces_is_noticed(
    served: ServedVersion, inside: Path
) -> None:
    pieces = served.pieces(0, 300_000)
    assert next(pieces).size_bytes == 300_000
    change_served(inside, "overwrite")
    with pytest.raises(ContentChanged, match="v1/a: changed since it was published"):
        next(pieces)
