from __future__ import annotations

import os

import pytest

from ckptd.config.sections import RecoverySection
from ckptd.daemon.settings import recovered_owner
from ckptd.daemon.settings.recovered_owner import check_giving, find_owner
from ckptd.errors import ConfigurationError
from ckptd.store.trees.ownership import Owner

JOB = 64002


def test_without_a_name_all_stays_the_daemons() -> None:
    assert find_owner(RecoverySection()) is None
    check_giving(None)


def test_names_and_numbers_become_numbers() -> None:
    found = find_owner(RecoverySection(owner=str(JOB), group=str(os.getegid())))
    assert found == Owner(JOB, os.getegid())
    assert find_owner(RecoverySection(group=str(os.getegid()))) == Owner(None, os.getegid())


@pytest.mark.parametrize("owner", ["root", "0"])
def test_nothing_becomes_roots(owner: str) -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.owner: is root"):
        find_owner(RecoverySection(owner=owner))


def test_a_name_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.owner: user 'no-such' is not known"):
        find_owner(RecoverySection(owner="no-such"))


def test_a_group_that_would_shut_the_daemon_out_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: JOB)
    with pytest.raises(ConfigurationError, match=r"recovery\.group: .* no member of '64003'"):
        find_owner(RecoverySection(group="64003"))


def test_a_mode_that_would_shut_the_daemon_out_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.mode: is 0600"):
        find_owner(RecoverySection(owner=str(JOB), mode="0600"))
    assert find_owner(RecoverySection(owner=str(JOB), mode="0640")) == Owner(JOB)


@pytest.mark.parametrize(
    ("owner", "key"), [(Owner(JOB), "recovery.owner"), (Owner(None, 1), "recovery.group")]
)
def test_a_process_that_may_not_give_files_away_is_refused_with_what_to_do(
    owner: Owner, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovered_owner, "giving_obstacle", lambda _: "may not")
    with pytest.raises(ConfigurationError, match=r"may not\..*40-owner\.conf") as refused:
        check_giving(owner)
    assert refused.value.subject == key
