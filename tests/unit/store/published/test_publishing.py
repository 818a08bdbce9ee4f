import os
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import (
    CkptdError,
    ContentChanged,
    StorageError,
)
from ckptd.limits import MIB, MS, SECOND
from ckptd.model import attributes
from ckptd.model.attributes import decode_attributes
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import Criticality
from ckptd.store.files import links
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Reading, compare, hash_again
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder
from tests.support.manifests import make_manifest
from tests.support.stores import CONTENTS, open_descriptors, publish, write_files


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    before = open_descriptors()
    yield opened
    assert open_descriptors() == before, "a descriptor was left open"
    opened.close()


def files_of(hashed: HashedDirectory) -> dict[str, str]:
    return {unit.path: hashed.path_of(index) for index, unit in enumerate(hashed.manifest.units)}


def test_a_directory_becomes_a_manifest(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    hashed = publish(root, "v1", critical=("weights.*",), deferred=("opt*",))
    expected = make_manifest(CONTENTS, critical=["weights.bin"], deferred=["optimizer/state.bin"])
    assert hashed.manifest == expected
    assert decode_manifest(hashed.encoded) == expected
    assert hashed.digest == hexdigest_of(hashed.encoded)
    assert (hashed.root, hashed.directory) == ("data", "v1")
    assert files_of(hashed) == {path: f"v1/{path}" for path in CONTENTS}


def test_types_are_part_of_a_version_only_where_they_are_said(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    plain = publish(root, "v1")
    assert publish(root, "v1", dtypes=(("*", "none"),)).encoded == plain.encoded
    assert publish(root, "v1", dtypes=(("*", "auto"),)).encoded == plain.encoded, "no header"
    typed = publish(root, "v1", dtypes=(("weights.*", "BF16"),))
    assert {unit.path: unit.facts for unit in typed.manifest.units if unit.facts} == {
        "weights.bin": {"dtype": "BF16"}
    }
    assert typed.digest != plain.digest
    assert decode_manifest(typed.encoded) == typed.manifest


def test_each_file_is_fingerprinted(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    hashed = publish(root, "v1")
    for unit, file in zip(hashed.manifest.units, hashed.files, strict=True):
        assert file
        assert file.fingerprint == fingerprint_of(os.stat(inside / "v1" / unit.path))


def test_the_same_bytes_give_the_same_manifest_elsewhere(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    write_files(inside / "deep/er/v1")
    assert publish(root, "v1").encoded == publish(root, "deep/er/v1", workers=3).encoded


def test_many_files_are_shared_among_workers(root: Root, inside: Path) -> None:
    contents = {f"{number % 7}/{number}": b"%d" % number * 50 for number in range(400)}
    write_files(inside / "v1", contents)
    assert publish(root, "v1", workers=3).manifest == make_manifest(contents)


def test_units_stand_in_urgency_order_with_their_own_files(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "b": b"22", "c": b"333", "d/a": b"4444"})
    hashed = publish(root, "v1", critical=("c", "d/*"), deferred=("a",))
    assert [(unit.path, unit.criticality) for unit in hashed.manifest.units] == [
        ("c", Criticality.CRITICAL),
        ("d/a", Criticality.CRITICAL),
        ("b", Criticality.NORMAL),
        ("a", Criticality.DEFERRED),
    ]
    assert [file and file.fingerprint.size_bytes for file in hashed.files] == [3, 4, 2, 1]


@pytest.mark.parametrize("per_directory", [50, 10_000])
def test_very_many_files_take_little_memory_each(
    root: Root, inside: Path, per_directory: int
) -> None:
    def bytes_of(count: int) -> int:
        for number in range(count):
            path = inside / f"v{count}" / f"{number // per_directory}/{number:05}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%d" % number)
        tracemalloc.start()
        hashed = publish(root, f"v{count}", version=count)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(hashed.manifest.units) == count
        return peak_bytes

    bytes_of(10)
    few, many = 300, 900
    assert bytes_of(many) - bytes_of(few) < (many - few) * 700, "as objects they take 1300 each"


def attributes_of(hashed: HashedDirectory) -> dict[str, tuple[int, int]]:
    """Return mode and time of each path, as the attribute document says."""
    found = decode_attributes(hashed.attributes, hashed.digest, hashed.manifest)
    paths = [*(unit.path for unit in hashed.manifest.units), *found.directories]
    return {path: (found.mode(at), found.mtime_ns(at)) for at, path in enumerate(paths)}


def test_modes_and_times_stand_beside_the_manifest(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"private": b"p", "sub/run.sh": b"r", "sub/deep/plain": b"l"})
    write_files(inside / "elsewhere", {"target": b"t"})
    (inside / "v1/link").symlink_to("../elsewhere/target")
    before = publish(root, "v1")
    modes = {
        "private": 0o600,
        "sub/run.sh": 0o755,
        "sub/deep/plain": 0o664,
        "sub/deep": 0o2770,
        "sub": 0o700,
        "": 0o1777,
    }
    (inside / "v1/sub/run.sh").chmod(0o700)
    assert publish(root, "v1").digest != before.digest  # may be executed: the manifest says so
    executable = publish(root, "v1")
    for number, (path, mode) in enumerate(modes.items()):
        (inside / "v1" / path).chmod(mode)
        os.utime(inside / "v1" / path, ns=(0, number))
    (inside / "elsewhere/target").chmod(0o640)
    os.utime(inside / "elsewhere/target", ns=(0, 99))
    after = publish(root, "v1")
    assert (after.digest, after.encoded) == (executable.digest, executable.encoded)
    expected = {path: (mode, number) for number, (path, mode) in enumerate(modes.items())}
    assert attributes_of(after) == expected | {"link": (0o640, 99)}


def test_a_version_of_too_many_files_and_directories_is_published_without_attributes(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside / "v1", {"a/b/c": b""})
    monkeypatch.setattr(attributes, "ATTRIBUTES_BYTES_MAX", 30)
    assert publish(root, "v1").attributes == b""


def test_executable_files_are_published(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"run.sh": b"#!/bin/sh\n"})
    os.chmod(inside / "v1/run.sh", 0o755)
    (unit,) = publish(root, "v1").manifest.units
    assert unit.is_executable


def test_a_file_with_a_second_name_is_refused_where_others_may_have_made_it(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_PROTECTION", root.absolute("protection"))
    monkeypatch.setattr(links, "file_system_type", lambda _: 0xEF53)
    write_files(inside, {"v1/plain": b"p", "../secret": b"s"})
    os.link(inside / "../secret", inside / "v1/weights")
    (inside / "v1").chmod(0o770)
    for _ in "without", "unprotected":
        with pytest.raises(StorageError, match=r"v1/weights: has 2 names .*publish a copy"):
            publish(root, "v1")
        (inside / "protection").write_text("0\n")
    (inside / "v1").chmod(0o750)
    assert files_of(publish(root, "v1")) == {"plain": "v1/plain", "weights": "v1/weights"}
    (inside / "v1").chmod(0o770)
    (inside / "protection").write_text("1\n")
    assert files_of(publish(root, "v1")) == {"plain": "v1/plain", "weights": "v1/weights"}


def test_versions_that_share_files_by_hard_links_are_published_and_stay(
    root: Root, inside: Path
) -> None:
    """What ``cp -al`` makes: the directories are the owner's alone."""
    write_files(inside / "100", {"backbone": b"b" * MIB, "head": b"1"})
    first = publish(root, "100")
    shutil.copytree(inside / "100", inside / "200", copy_function=os.link)
    (inside / "200/head").unlink()
    (inside / "200/head").write_bytes(b"2")
    second = publish(root, "200")
    assert second.manifest == make_manifest({"backbone": b"b" * MIB, "head": b"2"})
    found = compare(root, first)
    assert (found.changed, len(found.suspect)) == ({}, 2)  # their ctimes
    again = hash_again(root, first, found.suspect, Reading())
    assert (set(again.files), again.changed) == ({0, 1}, {})


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_a_file_that_runs_as_somebody_else_is_refused(root: Root, inside: Path, mode: int) -> None:
    write_files(inside / "v1", {"run.sh": b"#!/bin/sh\n"})
    os.chmod(inside / "v1/run.sh", mode)
    with pytest.raises(StorageError, match=r"run\.sh: has its setuid or setgid bit set.*chmod"):
        publish(root, "v1")


def test_a_read_only_directory_is_published_and_not_touched(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    os.chmod(inside / "v1/a", 0o444)
    os.chmod(inside / "v1", 0o555)
    before = [os.stat(inside / path) for path in ("v1", "v1/a")]
    publish(root, "v1")
    after = [os.stat(inside / path) for path in ("v1", "v1/a")]
    assert list(map(fingerprint_of, after)) == list(map(fingerprint_of, before))


def hash_with(
    root: Root,
    relative: str = "v1",
    *,
    on_progress: Callable[[HashingProgress], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    optional: tuple[str, ...] = (),
    settle_ns: int = 0,
) -> HashedDirectory:
    request = PublishOrder(
        root.absolute(relative),
        CheckpointName("a"),
        Version(1),
        optional=optional,
        settle_ns=settle_ns,
    )
    return scan_and_hash(
        root, relative, request, workers=2, on_progress=on_progress, is_cancelled=is_cancelled
    )


@pytest.mark.parametrize("change", ["append", "overwrite", "truncate", "touch", "replace"])
def test_a_file_that_changes_while_it_is_hashed_ends_the_publishing(
    root: Root, inside: Path, change: str
) -> None:
    path = inside / "v1/weights"
    write_files(inside, {"v1/weights": b""})
    os.truncate(path, 32 * MIB)

    def interfere(progress: HashingProgress) -> None:
        if progress.bytes_done == progress.bytes_total:
            return
        match change:
            case "append":
                with path.open("ab") as file:
                    file.write(b"!")
            case "overwrite":
                with path.open("r+b") as file:
                    file.write(b"!")
            case "truncate":
                os.truncate(path, 9 * MIB)
            case "touch":
                os.utime(path)
            case _:
                (inside / "new").write_bytes(b"new")
                os.rename(inside / "new", path)

    with pytest.raises(ContentChanged, match=r"v1/weights: changed while being hashed\. Publish"):
        hash_with(root, on_progress=interfere)


def test_a_file_that_does_not_come_to_rest_is_refused(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside / "v1", {"log": b"1"})
    now_ns = os.stat(inside / "v1/log").st_ctime_ns + 15_000_000
    monkeypatch.setattr("ckptd.store.published.hash_runs.time.time_ns", lambda: now_ns)
    with pytest.raises(ContentChanged, match="v1/log"):
        publish(root, "v1")


def test_a_write_right_behind_publishing_changes_the_fingerprint(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"file": b"1"})
    (file,) = publish(root, "v1").files
    (inside / "v1/file").write_bytes(b"2")
    assert file
    assert file.fingerprint != fingerprint_of(os.stat(inside / "v1/file"))


def test_progress_ends_with_everything_done(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/long": b"", "v1/a": b"aa", "v1/b": b"b"})
    os.truncate(inside / "v1/long", 20 * MIB)
    told: list[HashingProgress] = []
    hash_with(root, on_progress=told.append)
    assert told[-1] == HashingProgress(3, 3, 20 * MIB + 3, 20 * MIB + 3)
    assert [each.bytes_done for each in told] == sorted(each.bytes_done for each in told)


def test_a_cancelled_publishing_ends_early(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/long": b""})
    os.truncate(inside / "v1/long", 64 * MIB)
    told: list[HashingProgress] = []
    with pytest.raises(CkptdError, match="was cancelled"):
        hash_with(root, on_progress=told.append, is_cancelled=lambda: len(told) == 1)
    assert told[0].bytes_done < 64 * MIB


def test_a_file_that_vanishes_ends_the_publishing(root: Root, inside: Path) -> None:
    contents = {f"{number:04}": b"x" for number in range(500)}
    write_files(inside / "v1", contents)

    def remove(_: HashingProgress) -> None:
        (inside / "v1/0499").unlink(missing_ok=True)

    with pytest.raises(ContentChanged, match="changed while being hashed"):
        hash_with(root, on_progress=remove)


def test_a_file_that_changes_after_it_was_hashed_ends_the_publishing_too(
    root: Root, inside: Path
) -> None:
    write_files(inside, {"v1/a": b"", "v1/b": b"b"})
    os.truncate(inside / "v1/a", 20 * MIB)

    def interfere(progress: HashingProgress) -> None:
        if progress.files_done == progress.files_total:
            (inside / "v1/b").write_bytes(b"B")

    with pytest.raises(ContentChanged, match="v1: changed while being hashed"):
        hash_with(root, on_progress=interfere)


@pytest.mark.parametrize("path", ["late", "deep/late"])
def test_a_file_that_appears_meanwhile_ends_the_publishing(
    root: Root, inside: Path, path: str
) -> None:
    write_files(inside / "v1", {"a": b"1", "deep/b": b"2"})

    def appear(progress: HashingProgress) -> None:
        if progress.files_done == progress.files_total:
            (inside / "v1" / path).touch()

    with pytest.raises(ContentChanged, match=f"v1/{path}: appeared while being published"):
        hash_with(root, on_progress=appear)


def test_a_required_file_that_is_open_for_writing_is_refused(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "job.txt": b"2"})
    with (inside / "v1/job.txt").open("ab"):
        with pytest.raises(ContentChanged, match=r"v1/job\.txt: is open for writing\. Pub"):
            hash_with(root)
        hash_with(root, optional=("*.txt",))
    hash_with(root)


def test_a_directory_in_which_something_changed_just_now_is_looked_at_again_later(
    root: Root, inside: Path
) -> None:
    """A job that writes one file after another leaves no trace between two of them."""
    write_files(inside / "v1", {"a": b"1"})
    looks: list[bool] = []

    def write_next() -> bool:
        looks.append(True)
        if len(looks) == 4:
            (inside / "v1/b").touch()
        return False

    with pytest.raises(ContentChanged, match="v1/b: appeared"):
        hash_with(root, is_cancelled=write_next, settle_ns=1500 * MS)


def test_a_directory_that_settled_long_ago_is_not_waited_for(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    changed_ns = max(os.stat(inside / path).st_ctime_ns for path in ("v1", "v1/a"))
    hash_with(root, settle_ns=200 * MS)
    assert time.time_ns() >= changed_ns + 200 * MS
    looks: list[bool] = []

    def look() -> bool:
        looks.append(True)
        return False

    hash_with(root, is_cancelled=look, settle_ns=200 * MS)
    assert len(looks) <= 2


def test_what_comes_to_the_directory_of_a_single_file_is_not_waited_for(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"a": b"1"})
    time.sleep(0.3)
    (inside / "v1/other").touch()
    looks: list[bool] = []

    def look() -> bool:
        looks.append(True)
        return False

    hash_with(root, "v1/a", is_cancelled=look, settle_ns=200 * MS)
    assert len(looks) <= 2


def test_a_publishing_that_waits_can_be_cancelled(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    looks: list[bool] = []

    def cancel() -> bool:
        looks.append(True)
        return len(looks) == 4

    with pytest.raises(CkptdError, match="was cancelled"):
        hash_with(root, is_cancelled=cancel, settle_ns=3600 * SECOND)
