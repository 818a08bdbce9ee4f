import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptd.errors import ContentChanged
from ckptd.model.blocks import BlockSet
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.serving import ServedPlace, ServedVersion
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
    served = served_from(root, replace(hashed, files=UnitFiles(files)))
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


class TestSeveralPlaces:
    """Each unit comes from the first place that has it."""

    @pytest.fixture
    def copy(self, root: Root, inside: Path, hashed: HashedDirectory) -> HashedDirectory:
        write_files(inside / "copy", SERVED_CONTENTS)
        copy = publish(root, "copy")
        assert copy.digest == hashed.digest
        return copy

    @pytest.fixture
    def bad(self) -> list[tuple[int, int]]:
        return []

    @pytest.fixture
    def both(
        self,
        root: Root,
        hashed: HashedDirectory,
        copy: HashedDirectory,
        bad: list[tuple[int, int]],
    ) -> ServedVersion:
        return ServedVersion(
            [ServedPlace(7, root, hashed), ServedPlace(9, root, copy)],
            on_bad=lambda number, unit, reason: bad.append((number, unit)),
        )

    @pytest.mark.parametrize("how", ["overwrite", "touch", "remove", "replace", "directory link"])
    def test_what_is_not_as_it_was_at_the_first_comes_from_the_second(
        self, both: ServedVersion, bad: list[tuple[int, int]], inside: Path, how: str
    ) -> None:
        change_served(inside, how)
        with contextlib.suppress(ContentChanged):  # a long file is compared when it was opened
            read_served(both, 0, len(WHOLE))
        assert (7, 0) in bad
        assert read_served(both, 0, len(WHOLE)) == WHOLE
        assert {number for number, _ in bad} == {7}
        assert len(bad) == len(set(bad))

    def test_what_a_place_lacks_comes_from_another(
        self, root: Root, hashed: HashedDirectory, copy: HashedDirectory
    ) -> None:
        partial = replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
        served = ServedVersion(
            [
                ServedPlace(1, root, partial, frozenset({2})),
                ServedPlace(2, root, copy, frozenset({3})),
            ]
        )
        assert served.blocks == BlockSet.full(4)
        assert served.holds(0, len(WHOLE))
        assert read_served(served, 0, len(WHOLE)) == WHOLE

    def test_what_no_place_has_is_not_held(
        self, root: Root, hashed: HashedDirectory, copy: HashedDirectory
    ) -> None:
        places = [ServedPlace(n, root, at, frozenset({2})) for n, at in enumerate((hashed, copy))]
        served = ServedVersion(places)
        assert served.blocks == BlockSet([(0, 2), (3, 4)])
        assert not served.holds(300_000, 300_001)

    def test_when_the_last_place_is_bad_the_file_is_named(
        self, both: ServedVersion, bad: list[tuple[int, int]], inside: Path
    ) -> None:
        for directory in ("v1", "copy"):
            (inside / directory / "c/d").unlink()
        for _ in range(2):
            with pytest.raises(ContentChanged, match=r"c/d: "):
                read_served(both, 300_000, 300_002)
        assert bad == [(7, 2), (9, 2)]

    def test_who_cannot_read_a_piece_says_so_to_the_version(
        self, both: ServedVersion, bad: list[tuple[int, int]]
    ) -> None:
        pieces = both.pieces(300_002, len(WHOLE))
        next(pieces)
        with pytest.raises(ContentChanged):
            pieces.throw(ContentChanged("file of a version", "cannot be read"))
        assert bad == [(7, 3)]
        assert read_served(both, 300_002, len(WHOLE)) == SERVED_CONTENTS["e"]
        assert bad == [(7, 3)]
