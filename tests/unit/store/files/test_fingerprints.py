import os
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.fingerprints import (
    Fingerprint,
    UnitFile,
    check_plain,
    fingerprint_of,
    is_unchanged,
)

FILE = UnitFile(Fingerprint(1, 2, 3, 4, 5))


@pytest.mark.parametrize("change", ["content", "touch", "permissions", "replace"])
def test_a_change_changes_the_fingerprint(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    before = fingerprint_of(os.stat(path))
    assert fingerprint_of(os.stat(path)) == before
    match change:
        case "content":
            path.write_bytes(b"2")
        case "touch":
            os.utime(path)
        case "permissions":
            os.chmod(path, 0o700)
        case _:
            (tmp_path / "new").write_bytes(b"1")
            os.utime(tmp_path / "new", (1, 1))
            os.rename(tmp_path / "new", path)
    assert fingerprint_of(os.stat(path)) != before


def facts_of(**changed: int) -> os.stat_result:
    """What ``stat`` says of the file of ``FILE``, with some fields changed."""
    facts = {
        "st_mode": 0o100644,
        "st_nlink": 1,
        "st_uid": 7,
        "st_gid": 8,
        **dict(
            zip(
                ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"),
                FILE.fingerprint,
                strict=True,
            )
        ),
        **changed,
    }
    seconds = (facts["st_mtime_ns"], facts["st_mtime_ns"], facts["st_ctime_ns"])
    names = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size")
    nanoseconds = {"st_mtime_ns": facts["st_mtime_ns"], "st_ctime_ns": facts["st_ctime_ns"]}
    return os.stat_result((*(facts[name] for name in names), *seconds), nanoseconds)


def test_a_file_with_the_same_facts_is_unchanged() -> None:
    assert fingerprint_of(facts_of()) == FILE.fingerprint
    assert is_unchanged(facts_of(), FILE.fingerprint)
    assert is_unchanged(facts_of(st_uid=0, st_gid=0), FILE.fingerprint)


def test_a_volume_that_is_attached_again_changes_nothing() -> None:
    """Its number is drawn by the kernel: the order of disks, NFS, btrfs and FUSE change it."""
    assert is_unchanged(facts_of(st_dev=10**9), FILE.fingerprint)


@pytest.mark.parametrize("field", ["st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"])
@pytest.mark.parametrize("value", [0, 10**9])
def test_each_fact_that_differs_alone_is_a_change(field: str, value: int) -> None:
    assert not is_unchanged(facts_of(**{field: value}), FILE.fingerprint)


def test_a_file_without_a_name_is_changed(tmp_path: Path) -> None:
    """Whatever its fingerprint says: two changes in one tick of the clock leave one ctime."""
    path = tmp_path / "file"
    path.write_bytes(b"1")
    with path.open("rb") as file:
        path.unlink()
        facts = os.fstat(file.fileno())
    assert not is_unchanged(facts, fingerprint_of(facts))


def test_a_second_name_alone_changes_nothing() -> None:
    """A backup that links files changes no byte."""
    assert is_unchanged(facts_of(st_nlink=2), FILE.fingerprint)


OWN = facts_of(st_mode=0o40755)
"""A directory of the file's owner."""
WHY = "nobody knows who"


def test_a_file_that_runs_as_somebody_is_not_plain() -> None:
    check_plain(facts_of(), OWN, "file", lambda: WHY)
    for mode in (0o104755, 0o102755):
        with pytest.raises(StorageError, match="setuid or setgid"):
            check_plain(facts_of(st_mode=mode), OWN, "file", lambda: WHY)


@pytest.mark.parametrize(
    ("directory", "is_taken"),
    [
        (OWN, True),
        (facts_of(st_mode=0o40700), True),
        (facts_of(st_mode=0o40755, st_uid=1000), False),  # who made the name could not read it
        (facts_of(st_mode=0o40755, st_uid=0), False),
        (facts_of(st_mode=0o40775), False),
        (facts_of(st_mode=0o41777), False),
        (facts_of(st_mode=0o40757), False),
    ],
)
def test_a_second_name_is_taken_where_only_the_owner_can_have_made_it(
    directory: os.stat_result, *, is_taken: bool
) -> None:
    check_plain(facts_of(), directory, "file", lambda: WHY)
    if is_taken:
        check_plain(facts_of(st_nlink=2), directory, "file", lambda: WHY)
    else:
        with pytest.raises(StorageError, match=rf"has 2 names .* others than its owner .* {WHY}"):
            check_plain(facts_of(st_nlink=2), directory, "file", lambda: WHY)


def test_a_second_name_is_taken_where_only_who_reads_and_writes_the_file_can_have_made_it() -> None:
    check_plain(facts_of(st_nlink=2), facts_of(st_mode=0o41777), "file", lambda: "")
    with pytest.raises(StorageError, match="setuid or setgid"):
        check_plain(facts_of(st_nlink=2, st_mode=0o104755), OWN, "file", lambda: "")
