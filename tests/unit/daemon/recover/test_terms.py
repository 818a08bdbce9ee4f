import pytest

from ckptd.daemon.recover.terms import Terms
from ckptd.errors import StorageError
from ckptd.limits import GIB

TERMS = Terms(version_bytes_max=2 * GIB, mode_max=0o775, owner=None)


def test_a_version_that_is_not_too_long_is_taken() -> None:
    assert not TERMS.size_problem(2 * GIB)
    TERMS.check_size("a@1", 2 * GIB)


def test_one_that_is_too_long_is_refused_with_size_key_and_remedy() -> None:
    with pytest.raises(
        StorageError,
        match=r"^a@1: has 3 GiB, holes included, more than recovery.version_max = 2 GiB\. "
        r"Raise recovery.version_max",
    ):
        TERMS.check_size("a@1", 3 * GIB)
