from __future__ import annotations

import os

import pytest

from ckptd.config import Config
from ckptd.config.sections import NodeSection, RecoverySection, RootRecovery
from ckptd.daemon.settings import recovered_owner
from ckptd.daemon.settings.recovered_owner import check_giving, find_owner, find_owners
from ckptd.errors import ConfigurationError
from ckptd.model.ids import NodeId
from ckptd.store.trees.ownership import Owner

JOB = 64002


def said(owner: str | None = None, group: str | None = None, mode: str = "0775") -> RootRecovery:
    return RootRecovery(mode=mode, owner=owner, group=group)


def with_roots(*roots: str, recovery: RecoverySection) -> Config:
    node = NodeSection(id=NodeId("a"), state_dir="/s")
    return Config(node=node, roots={root: f"/{root}" for root in roots}, recovery=recovery)


def test_without_a_name_all_stays_the_daemons() -> None:
    assert find_owner("recovery", said()) is None
    check_giving(RecoverySection(), {"main": None})


def test_names_and_numbers_become_numbers() -> None:
    found = find_owner("recovery", said(owner=str(JOB), group=str(os.getegid())))
    assert found == Owner(JOB, os.getegid())
    assert find_owner("recovery", said(group=str(os.getegid()))) == Owner(None, os.getegid())


@pytest.mark.parametrize("owner", ["root", "0"])
def test_nothing_becomes_roots(owner: str) -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.owner: is root"):
        find_owner("recovery", said(owner=owner))


def test_a_name_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.owner: user 'no-such' is not known"):
        find_owner("recovery", said(owner="no-such"))


def test_a_group_that_would_shut_the_daemon_out_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: JOB)
    with pytest.raises(ConfigurationError, match=r"recovery\.group: .* no member of '64003'"):
        find_owner("recovery", said(group="64003"))


def test_a_mode_that_would_shut_the_daemon_out_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"recovery\.mode: is 0600"):
        find_owner("recovery", said(owner=str(JOB), mode="0600"))
    assert find_owner("recovery", said(owner=str(JOB), mode="0640")) == Owner(JOB)


@pytest.mark.parametrize(("owner", "key"), [(Owner(JOB), "owner"), (Owner(None, 1), "group")])
def test_a_process_that_may_not_give_files_away_is_refused_with_what_to_do(
    owner: Owner, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovered_owner, "giving_obstacle", lambda _: "may not")
    with pytest.raises(ConfigurationError, match=r"may not\..*40-owner\.conf") as refused:
        check_giving(RecoverySection(), {"main": None, "fast": owner})
    assert refused.value.subject == f"recovery.{key}"
    with pytest.raises(ConfigurationError) as refused:
        check_giving(RecoverySection(roots={"fast": said()}), {"fast": owner})
    assert refused.value.subject == f"recovery.roots.fast.{key}"


def test_a_root_can_have_an_owner_of_its_own_or_none() -> None:
    others = {"fast": said(str(JOB + 1)), "plain": said()}
    recovery = RecoverySection(owner=str(JOB), roots=others)
    assert find_owners(with_roots("main", "fast", "plain", recovery=recovery)) == {
        "main": Owner(JOB),
        "fast": Owner(JOB + 1),
        "plain": None,
    }


def test_nothing_in_a_root_becomes_roots() -> None:
    recovery = RecoverySection(roots={"main": said("root")})
    with pytest.raises(ConfigurationError, match=r"recovery\.roots\.main\.owner: is root"):
        find_owners(with_roots("main", recovery=recovery))
