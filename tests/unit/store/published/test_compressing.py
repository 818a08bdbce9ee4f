"""Units of a copy that are compressed where they stand, and everything that reads them then."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError, ContentChanged, StorageError
from ckptd.limits import MIB
from ckptd.store.files import compressed_files
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import COMPRESSING
from ckptd.store.files.roots import Root
from ckptd.store.published import compressing, pieces
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.published.checking import Differences, Reading, Recorded, compare, hash_again
from ckptd.store.published.compressing import clean, compress_unit, compressible
from ckptd.store.published.removing import examine, remove
from ckptd.store.published.serving import ServedPlace, ServedVersion
from tests.support.compressing import (
    COPIED_CONTENTS,
    compress,
    compressed_bytes,
    half_random,
    spoil,
)
from tests.support.stores import (
    open_descriptors,
    publish,
    read_served,
    served_from,
    write_files,
)

MODEL = "model"


@pytest.fixture
def plain(root: Root, inside: Path) -> HashedDirectory:
    write_files(inside / "v1", COPIED_CONTENTS)
    os.utime(inside / "v1" / MODEL, ns=(10**18, 10**18 + 7))
    (inside / "v1" / MODEL).chmod(0o640)
    return publish(root, "v1")


@pytest.fixture
def kept(root: Root, plain: HashedDirectory) -> HashedDirectory:
    return compress(root, plain)


def unit_of(hashed: HashedDirectory, path: str = MODEL) -> int:
    return [unit.path for unit in hashed.manifest.units].index(path)


def names(inside: Path) -> list[str]:
    return sorted(path.name for path in (inside / "v1").iterdir())


def content(hashed: HashedDirectory) -> bytes:
    return b"".join(COPIED_CONTENTS[unit.path] for unit in hashed.manifest.units)


def recorded_as_it_is(root: Root, hashed: HashedDirectory) -> HashedDirectory:
    """Let what is recorded of the model be what its file looks like now."""
    unit = unit_of(hashed)
    file = hashed.files[unit]
    assert file is not None
    files = hashed.files.copied()
    looks = fingerprint_of(os.stat(root.absolute(hashed.path_of(unit))))
    files[unit] = file._replace(fingerprint=looks)
    return replace(hashed, files=files)


class TestCompressing:
    def test_what_gets_shorter_is_kept_compressed_and_nothing_else(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        assert set(compressible(plain)) == {unit_of(plain), unit_of(plain, "sub/noise")}
        before = open_descriptors()
        kept = compress(root, plain)
        assert open_descriptors() == before
        assert kept.files.compressed() == [unit_of(plain)]
        assert names(inside) == ["empty", "model.zst", "small", "sub"]
        file = kept.files[unit_of(plain)]
        assert file is not None
        assert file.plain_bytes == len(COPIED_CONTENTS[MODEL])
        assert kept.files.saved_bytes == file.plain_bytes - file.fingerprint.size_bytes > MIB // 3
        assert list(compressible(kept)) == [unit_of(plain, "sub/noise")]

    def test_the_file_has_the_mode_and_the_time_of_the_other_one(
        self, kept: HashedDirectory, inside: Path
    ) -> None:
        facts = (inside / "v1/model.zst").stat()
        assert (facts.st_mode & 0o777, facts.st_mtime_ns) == (0o640, 10**18 + 7)

    @pytest.mark.parametrize("taken", ["unit", "link", "directory"])
    def test_a_name_that_the_version_has_is_never_taken(
        self, root: Root, inside: Path, taken: str
    ) -> None:
        write_files(inside / "v1", COPIED_CONTENTS)
        match taken:
            case "unit":
                write_files(inside / "v1", {"model.zst": b"mine"})
            case "link":
                (inside / "v1/model.zst").symlink_to("small")
            case _:
                (inside / "v1/model.zst").mkdir()
        hashed = publish(root, "v1", keeps_links=True)
        assert unit_of(hashed) not in set(compressible(hashed))

    def test_a_directory_in_the_way_is_no_harm(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        (inside / "v1/model.zst").mkdir()
        with pytest.raises(StorageError):
            compress(root, plain, [unit_of(plain)])
        assert compare(root, plain) == Differences({}, {}, {})

    def test_units_that_are_links_wrong_or_left_out_stay(self, plain: HashedDirectory) -> None:
        unit = unit_of(plain)
        file = plain.files[unit]
        assert file is not None
        for other in (None, file._replace(is_wrong=True), file._replace(link_target="x")):
            files = plain.files.copied()
            files[unit] = other
            assert unit not in set(compressible(replace(plain, files=files)))

    def test_a_file_of_holes_that_takes_no_room_stays(self, root: Root, inside: Path) -> None:
        (inside / "v1").mkdir()
        with (inside / "v1/zeros").open("wb") as file:
            file.truncate(4 * MIB)
        hashed = publish(root, "v1")
        assert compress_unit(root, hashed, 0, lambda _: None) is None
        assert names(inside) == ["zeros"]

    def test_what_gets_shorter_only_where_samples_are_stays(
        self, root: Root, inside: Path, plain: HashedDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compressing, "_is_worth", lambda *_: True)
        noise = unit_of(plain, "sub/noise")
        assert compress_unit(root, plain, noise, lambda _: None) is None
        assert names(inside) == ["empty", "model", "small", "sub"]

    def test_content_that_is_wrong_is_not_compressed(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        spoil(inside / "v1" / MODEL, 900_000)
        with pytest.raises(ContentChanged):
            compress(root, plain, [unit_of(plain)])
        with pytest.raises(ContentChanged, match="bit rot"):
            compress(root, recorded_as_it_is(root, plain), [unit_of(plain)])
        assert "model.zst" not in names(inside)

    def test_what_would_not_be_the_same_again_is_not_kept(
        self, root: Root, plain: HashedDirectory, inside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def zeros(block: memoryview) -> bytes:
            return compressed_files.compressed_block(memoryview(bytes(len(block))))

        monkeypatch.setattr(compressing, "compressed_block", zeros)
        with pytest.raises(CkptdError, match="decoded again"):
            compress(root, plain, [unit_of(plain)])
        assert "model.zst" not in names(inside)
        assert "model" in names(inside)

    def test_it_ends_when_nobody_wants_it_any_more(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        class Enough(Exception):
            pass

        def note(_: int) -> None:
            raise Enough

        before = open_descriptors()
        with pytest.raises(Enough):
            compress_unit(root, plain, unit_of(plain), note)
        assert open_descriptors() == before
        assert names(inside) == ["empty", "model", "small", "sub"]


class TestCrashes:
    """Whatever stands when it ends in the middle: what is recorded is right, the rest goes."""

    def test_before_it_has_its_name(self, root: Root, plain: HashedDirectory, inside: Path) -> None:
        (inside / "v1" / COMPRESSING).write_bytes(b"half")
        assert compare(root, plain) == Differences({}, {}, {})
        clean(root, plain)
        assert names(inside) == ["empty", "model", "small", "sub"]
        (inside / "v1" / COMPRESSING).write_bytes(bytes(3 * MIB))
        kept = compress(root, plain)
        assert names(inside) == ["empty", "model.zst", "small", "sub"]
        assert read_served(served_from(root, kept), 0, len(content(kept))) == content(kept)

    def test_before_it_is_recorded(self, root: Root, plain: HashedDirectory, inside: Path) -> None:
        kept = compress(root, plain, leaves=True)
        assert compare(root, plain) == Differences({}, {}, {})
        assert clean(root, plain) == len(COPIED_CONTENTS[MODEL]) - kept.files.saved_bytes
        assert names(inside) == ["empty", "model", "small", "sub"]

    def test_before_the_other_file_goes(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        kept = compress(root, plain, leaves=True)
        assert compare(root, kept) == Differences({}, {}, {})
        assert clean(root, kept) == len(COPIED_CONTENTS[MODEL])
        assert names(inside) == ["empty", "model.zst", "small", "sub"]
        assert clean(root, kept) == 0

    def test_nothing_goes_whose_other_form_is_not_as_recorded(
        self, root: Root, plain: HashedDirectory, inside: Path
    ) -> None:
        kept = compress(root, plain, leaves=True)
        spoil(inside / "v1/model.zst", 1000)
        assert clean(root, kept) == 0
        assert "model" in names(inside)

    @pytest.mark.parametrize("how", ["time", "length"])
    def test_what_somebody_else_put_there_stays(
        self, root: Root, kept: HashedDirectory, inside: Path, how: str
    ) -> None:
        other = inside / "v1" / MODEL
        other.write_bytes(COPIED_CONTENTS[MODEL] if how == "time" else b"mine")
        if how == "length":
            os.utime(other, ns=(10**18, 10**18 + 7))
        assert clean(root, kept) == 0
        assert other.exists()


class TestServing:
    def test_bytes_are_those_of_the_unit(self, root: Root, kept: HashedDirectory) -> None:
        served, expected = served_from(root, kept), content(kept)
        before = open_descriptors()
        assert read_served(served, 0, len(expected)) == expected
        first = served.space.block_start(served.space.unit_run(unit_of(kept))[0])
        for start, end in (
            (first, first + 1),
            (first + 70_000, first + 70_010),  # short: read together with others
            (first + 100_000, first + 900_000),
            (first + MIB, len(expected)),
        ):
            assert read_served(served, start, end) == expected[start:end]
        assert open_descriptors() == before

    def test_no_piece_names_a_file_of_other_bytes(self, root: Root, kept: HashedDirectory) -> None:
        served = served_from(root, kept)
        start, end = map(served.space.block_start, served.space.unit_run(unit_of(kept)))
        assert all(piece.data is not None for piece in served.pieces(start, end))

    def test_it_leaves_the_page_cache_when_it_was_sent(
        self,
        root: Root,
        kept: HashedDirectory,
        inside: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        served = served_from(root, kept)
        start, end = map(served.space.block_start, served.space.unit_run(unit_of(kept)))
        dropped: list[tuple[int, int]] = []
        monkeypatch.setattr(pieces, "drop_cached", lambda _, *part: dropped.append(part))
        for drops_used in (False, True):
            for _ in served.pieces(start, end, drops_used=drops_used):
                assert not dropped
        frames_bytes = (inside / "v1/model.zst").stat().st_size - len(COPIED_CONTENTS)
        assert [(at, size > frames_bytes - 200) for at, size in dropped] == [(0, True)]

    @pytest.mark.parametrize("offset", [1000, -5])
    def test_rot_is_not_sent_and_the_unit_is_suspect(
        self, root: Root, kept: HashedDirectory, inside: Path, offset: int
    ) -> None:
        path = inside / "v1/model.zst"
        spoil(path, offset % path.stat().st_size)
        noted: list[tuple[int, int]] = []
        served = ServedVersion(
            [ServedPlace(7, root, recorded_as_it_is(root, kept))],
            on_bad=lambda number, unit, reason: noted.append((number, unit)),
        )
        start, end = map(served.space.block_start, served.space.unit_run(unit_of(kept)))
        with pytest.raises(ContentChanged):
            read_served(served, start, end)
        assert noted == [(7, unit_of(kept))]

    def test_a_file_with_other_blocks_is_not_sent(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        whole = COPIED_CONTENTS[MODEL]
        (inside / "v1/model.zst").write_bytes(compressed_bytes([whole[:MIB], whole[MIB:]]))
        served = served_from(root, recorded_as_it_is(root, kept))
        start, end = map(served.space.block_start, served.space.unit_run(unit_of(kept)))
        with pytest.raises(ContentChanged):
            read_served(served, start, end)

    def test_a_file_that_changed_is_not_sent(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        served = served_from(root, kept)
        start, end = map(served.space.block_start, served.space.unit_run(unit_of(kept)))
        sent = served.pieces(start, end)
        next(sent)
        os.utime(inside / "v1/model.zst")
        with pytest.raises(ContentChanged):
            next(sent)

    def test_blocks_are_bases_of_others(self, root: Root, kept: HashedDirectory) -> None:
        bases = BaseBlocks(served_from(root, kept))
        for place in bases.space.places(bases.space.unit_run(unit_of(kept))):
            assert bases.read(place, page_buffer(place.size_bytes))

    def test_blocks_that_nobody_compares_are_read_decoded(
        self, root: Root, kept: HashedDirectory
    ) -> None:
        version = served_from(root, kept)
        before = open_descriptors()
        found = bytearray()
        with version.reading() as reading:
            for place in version.space.places((0, version.space.block_count)):
                into = page_buffer(place.size_bytes)
                reading.read(place.unit, place.offset, into)
                found += into
        assert bytes(found) == content(kept)
        assert open_descriptors() == before

    def test_a_file_of_other_frames_is_not_read_and_the_unit_is_suspect(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        (inside / "v1/model.zst").write_bytes(compressed_bytes([COPIED_CONTENTS[MODEL]]))
        noted: list[tuple[int, int]] = []
        version = ServedVersion(
            [ServedPlace(7, root, recorded_as_it_is(root, kept))],
            on_bad=lambda number, unit, reason: noted.append((number, unit)),
        )
        before = open_descriptors()
        with version.reading() as reading, pytest.raises(ContentChanged):
            reading.read(unit_of(kept), 0, page_buffer(MIB))
        assert open_descriptors() == before
        assert noted == [(7, unit_of(kept))]


class TestChecking:
    def test_it_looks_as_it_was_recorded(self, root: Root, kept: HashedDirectory) -> None:
        assert compare(root, kept) == Differences({}, {}, {})
        assert Recorded(kept).has("v1/model.zst")

    @pytest.mark.parametrize("is_from_disk", [False, True])
    @pytest.mark.parametrize("workers", [1, 2])
    def test_right_content_is_right(
        self, root: Root, kept: HashedDirectory, workers: int, *, is_from_disk: bool
    ) -> None:
        read: list[int] = []
        reading = Reading(workers=workers, is_from_disk=is_from_disk, pace=read.append)
        checked = hash_again(root, kept, range(len(kept.files)), reading)
        assert dict(checked.files) == dict(enumerate(kept.files))
        assert checked.read_bytes == sum(read) == len(content(kept))

    def test_a_change_of_metadata_is_none_of_content(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        unit = unit_of(kept)
        os.utime(inside / "v1/model.zst")
        assert set(compare(root, kept).suspect) == {unit}
        checked = hash_again(root, kept, [unit], Reading())
        assert checked.files[unit].plain_bytes == len(COPIED_CONTENTS[MODEL])
        assert checked.files[unit].fingerprint == fingerprint_of((inside / "v1/model.zst").stat())

    @pytest.mark.parametrize("offset", [1000, -5, -30])
    def test_rot_is_found(
        self, root: Root, kept: HashedDirectory, inside: Path, offset: int
    ) -> None:
        path = inside / "v1/model.zst"
        spoil(path, offset % path.stat().st_size)
        rotten = recorded_as_it_is(root, kept)
        assert compare(root, rotten) == Differences({}, {}, {})
        checked = hash_again(root, rotten, [unit_of(kept)], Reading())
        assert (set(checked.changed), checked.rotten) == ({unit_of(kept)}, {unit_of(kept)})

    def test_what_is_gone_or_of_another_length_is_changed(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        path, unit = inside / "v1/model.zst", unit_of(kept)
        os.truncate(path, 1000)
        assert set(compare(root, kept).changed) == {unit}
        assert "1000 bytes instead of" in hash_again(root, kept, [unit], Reading()).changed[unit]
        path.unlink()
        assert "was removed" in hash_again(root, kept, [unit], Reading()).changed[unit]


class TestRemoving:
    def test_the_version_goes_with_its_directory_and_says_what_that_frees(
        self, root: Root, kept: HashedDirectory, inside: Path
    ) -> None:
        examined = examine(root, kept, (), Reading())
        assert (examined.foreign, examined.strangers) == ({}, 0)
        assert examined.size_bytes == len(content(kept)) - kept.files.saved_bytes
        removed = remove(root, kept, examined, with_foreign=False)
        assert removed.is_directory_gone
        assert removed.size_bytes == examined.size_bytes
        assert not (inside / "v1").exists()

    @pytest.mark.parametrize("recorded", ["compressed", "plain"])
    def test_what_a_crash_left_goes_as_well(
        self, root: Root, plain: HashedDirectory, inside: Path, recorded: str
    ) -> None:
        both = compress(root, plain, leaves=True)
        (inside / "v1" / COMPRESSING).write_bytes(b"half")
        hashed = both if recorded == "compressed" else plain
        examined = examine(root, hashed, (), Reading())
        assert (examined.foreign, examined.strangers) == ({}, 0)
        assert remove(root, hashed, examined, with_foreign=False).is_directory_gone

    def test_a_unit_with_such_a_name_is_no_other_form(self, root: Root, inside: Path) -> None:
        write_files(inside / "v1", COPIED_CONTENTS | {"model.zst": half_random(2 * MIB)})
        for name in ("model", "model.zst"):
            os.utime(inside / "v1" / name, ns=(10**18, 10**18))
        hashed = publish(root, "v1")
        assert clean(root, hashed) == 0
        assert {"model", "model.zst"} < set(names(inside))


def test_what_reads_needs_memory_for_a_piece_and_not_for_a_block(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counting(size_bytes: int) -> memoryview:
        made.append(size_bytes)
        return page_buffer(size_bytes)

    (inside / "v1").mkdir()
    (inside / "v1/long").write_bytes(half_random(5 * MIB))
    kept = compress(root, publish(root, "v1"))
    assert kept.files.compressed() == [0]
    monkeypatch.setattr(compressed_files, "page_buffer", counting)
    served = served_from(root, kept)
    assert read_served(served, 0, 5 * MIB) == half_random(5 * MIB)
    assert made == [compressed_files.PIECE_BYTES]
