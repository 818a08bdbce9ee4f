"""Policies that lie in files: read within bounds, and errors that name file and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import StorageError, UsageError
from ckptd.limits import POLICY_FILE_BYTES_MAX
from ckptd.model.policy.rules import Policy, Rule
from ckptd.store.files.roots import Root
from ckptd.store.published.policy_files import policy_in
from tests.support.somebody import somebody
from tests.support.stores import write_files

NAME = "ckptd.policy.toml"


def test_where_there_is_none_nothing_is_said(root: Root, inside: Path) -> None:
    (inside / "v1").mkdir()
    assert policy_in(root, "v1", "p") is None
    assert policy_in(root, "gone", "p") is None


def test_a_policy_is_read_with_its_origin(root: Root, inside: Path) -> None:
    write_files(inside, {NAME: b'[[rule]]\npaths = ["a"]\nphase = "core"\n'})
    assert policy_in(root, "", "p") == Policy((), (Rule(("a",), "core", origin="p rule[0]"),))


@pytest.mark.parametrize(
    ("content", "subject", "problem"),
    [
        (b"phases = [", "", "is not TOML"),
        (b"\n\xff", "", "is not UTF-8 (at line 2)"),
        (b"#" * (POLICY_FILE_BYTES_MAX + 1), "", "has more than 65536 bytes"),
        (b"a." * 100 + b"b = 1", "", "has 100 dots in one word"),
        (b'phases = ["Core"]', ": phases", "is no name of a phase"),
        (b"[[rule]]\npath = 1", ": rule[0].path", "is not a key of a policy"),
        (b'place = "progressive"', ": place", "[[policy]] in the configuration"),
        (b'checkpoint = "a"', ": checkpoint", "[[policy]] in the configuration"),
        (b'[[rule]]\npaths = [1]\nphase = "a"', ": rule[0].paths", "not text"),
    ],
    ids=["toml", "utf-8", "long", "dots", "phases", "a key", "place", "checkpoint", "paths"],
)
def test_what_cannot_be_used_is_named(
    root: Root, inside: Path, content: bytes, subject: str, problem: str
) -> None:
    write_files(inside, {NAME: content})
    with pytest.raises(UsageError) as error:
        policy_in(root, "", "p")
    assert error.value.subject == f"{inside}/{NAME}{subject}"
    assert problem in error.value.problem


def test_one_of_the_longest_length_is_read(root: Root, inside: Path) -> None:
    write_files(inside, {NAME: b"#" * POLICY_FILE_BYTES_MAX})
    assert policy_in(root, "", "p") == Policy()


def test_a_link_is_not_followed(root: Root, inside: Path) -> None:
    write_files(inside, {"../secret": b"phases = []", "v1/a": b""})
    (inside / "v1" / NAME).symlink_to("../../secret")
    with pytest.raises(StorageError, match=NAME):
        policy_in(root, "v1", "p")


def test_what_is_no_file_is_refused(root: Root, inside: Path) -> None:
    os.mkfifo(inside / NAME)
    with pytest.raises(StorageError, match="no regular file"):
        policy_in(root, "", "p")


def test_what_could_not_be_published_is_not_read_either(root: Root, inside: Path) -> None:
    write_files(inside, {NAME: b""})
    (inside / NAME).chmod(0o4755)
    with pytest.raises(StorageError, match="setuid"):
        policy_in(root, "", "p")


def test_one_that_may_not_be_read_is_not_ignored(root: Root, inside: Path) -> None:
    write_files(inside, {NAME: b""})
    (inside / NAME).chmod(0)
    with somebody() as user, pytest.raises(StorageError) as error:
        policy_in(root, "", "p")
    assert error.value.subject == f"{inside}/{NAME}"
    assert error.value.problem.startswith(f"user {user} may not read it")
    assert "chmod a+r" in error.value.hint


def test_rules_are_counted_alike_in_errors_and_where_it_is_said_which_one_counts(
    root: Root, inside: Path
) -> None:
    fine = '[[rule]]\npaths = ["a"]\nphase = "core"\n'
    (inside / NAME).write_text(fine * 2)
    policy = policy_in(root, "", NAME)
    assert policy is not None
    (inside / NAME).write_text(f"{fine}[[rule]]\npaths = 1\n")
    with pytest.raises(UsageError) as refused:
        policy_in(root, "", NAME)
    key = policy.rules[1].origin.removeprefix(f"{NAME} ")
    assert refused.value.subject.endswith(f": {key}.paths")
