import pytest

from ckptd.config.sections import RecoverySection, RootRecovery
from ckptd.daemon.recover.terms import RootTerms, Terms
from ckptd.errors import StorageError
from ckptd.limits import GIB
from ckptd.store.trees.ownership import Owner

TERMS = Terms(2 * GIB, {})


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


def test_what_is_said_of_a_root_goes_before_what_is_said_of_all() -> None:
    own = RootRecovery(mode="0770", owner="64002", group=None)
    recovery = RecoverySection(mode="0640", roots={"main": own})
    terms = Terms.of(recovery, {"main": Owner(64002), "fast": None})
    assert terms.by_root == {
        "main": RootTerms(0o770, Owner(64002)),
        "fast": RootTerms(0o640, None),
    }
