import pytest

from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.store.files import layout


def test_what_lies_where_does_not_change_from_one_release_to_the_next() -> None:
    """A daemon takes up what another one left, so these are a format."""
    assert layout.staging_of(RecoveryId("01J9QX")) == ".ckptd/01J9QX"
    assert layout.PROBE == ".ckptd/probe"
    assert layout.database_in("/var/lib/ckptd") == "/var/lib/ckptd/ckptd.db"
    assert layout.database_in("/") == "/ckptd.db"
    assert layout.damaged_database("ckptd.db", 3) == "ckptd.db.damaged-3"
    assert layout.LOCK == "lock"
    assert layout.passing_link("current") == ".ckptd-current"
    name = CheckpointName("llama/rank-3")
    assert layout.current_link("{checkpoint}/current", name) == "llama/rank-3/current"
    assert layout.usual_target(CheckpointName("llama/rank-3"), Version(100)) == "llama/rank-3/100"


def test_a_path_below_the_root_itself_has_no_leading_slash() -> None:
    assert layout.inside("", "a/b") == "a/b"
    assert layout.inside("llama/100", "a/b") == "llama/100/a/b"


@pytest.mark.parametrize("path", [".ckptd", ".ckptd/r-1", ".ckptd/r-1/a"])
def test_what_is_in_staging_is_told_from_its_first_component(path: str) -> None:
    assert layout.is_in_staging(path)


@pytest.mark.parametrize("path", ["", "a", "a/.ckptd", ".ckptd2", ".ckptd2/a", "x.ckptd"])
def test_a_name_that_only_resembles_it_is_not_in_staging(path: str) -> None:
    assert not layout.is_in_staging(path)


def test_the_files_of_the_database_are_told_by_their_names() -> None:
    names = [layout.DATABASE + suffix for suffix in layout.DATABASE_SUFFIXES]
    assert names == ["ckptd.db-wal", "ckptd.db-shm", "ckptd.db"]
    assert all(map(layout.is_of_database, [*names, "ckptd.db.damaged-1"]))
    assert not layout.is_of_database("lock")


def test_only_what_is_named_like_a_recovery_is_the_staging_of_one() -> None:
    assert layout.recovery_of("r-0123456789ab") == "r-0123456789ab"
    for other in ("probe", "replaced", "r-0123456789", "r-0123456789abc", "r-0123456789AB", ""):
        assert layout.recovery_of(other) is None


def test_what_is_kept_of_another_content_is_staging_of_the_same_recovery() -> None:
    recovery = RecoveryId("r-0123456789ab")
    kept = layout.kept_staging_of(recovery, Digest("cd" * 32))
    assert kept == ".ckptd/r-0123456789ab.cdcdcdcdcdcd"
    assert layout.recovery_of(kept.split("/")[1]) == recovery
    assert layout.recovery_of("r-0123456789ab.cdcdcdcdcdc") is None


def test_what_is_put_aside_lies_where_no_recovery_stages() -> None:
    kept = layout.replaced_by(RecoveryId("r-0123456789ab"))
    assert kept == ".ckptd/replaced/r-0123456789ab"
    assert layout.is_in_staging(kept)
    assert layout.recovery_of(kept.split("/")[1]) is None
