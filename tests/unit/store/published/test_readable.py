"""What of a directory the daemon may not read, and what somebody has to type."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root
from ckptd.store.published.finding import found_files
from ckptd.store.published.readable import UnitPath, check_readable, naming_closed_directories
from ckptd.store.published.scanning import PublishOrder
from tests.support.somebody import somebody
from tests.support.stores import write_files

FILES = {"config.json": b"{}", "model-1.safetensors": b"1", "model-2.safetensors": b"2"}


def find(root: Root, relative: str) -> int:
    """Find what would be hashed; return how many files that are."""
    order = PublishOrder(root.absolute(relative), CheckpointName("llama"), Version(1))
    return len(found_files(root, relative, order)[2])


def closed_weights(inside: Path) -> Path:
    """Write a version as safetensors does: weights are their owner's alone."""
    write_files(inside / "llama/1200", FILES)
    for path in (inside / "llama/1200").glob("*.safetensors"):
        path.chmod(0o600 if os.geteuid() == 0 else 0)
    return inside / "llama/1200"


def test_what_may_be_read_is_fine(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    with somebody():
        check_readable(root, "v1", [UnitPath(f"v1/{name}") for name in FILES])


def test_a_file_that_is_gone_is_no_matter_of_permission(root: Root, inside: Path) -> None:
    (inside / "v1").mkdir()
    with somebody():
        check_readable(root, "v1", [UnitPath("v1/gone")])


def test_files_that_are_their_owners_alone_are_refused_before_anything_is_hashed(
    root: Root, inside: Path
) -> None:
    directory = closed_weights(inside)
    facts = (directory / "model-1.safetensors").stat()
    with somebody() as user, pytest.raises(StorageError) as refused:
        find(root, "llama/1200")
    error = refused.value
    assert error.subject == f"2 of 3 files, {directory}/model-1.safetensors first"
    looks = f"owner {facts.st_uid}, mode {facts.st_mode & 0o777:04o}"
    assert error.problem == f"user {user} may not read it ({looks})"
    assert f"'setfacl -R -m u:{user}:rX {directory}'" in error.hint
    assert f"'setfacl -m d:u:{user}:rX {directory.parent}'" in error.hint


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="needs setfacl")
def test_what_the_error_says_helps(root: Root, inside: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    closed_weights(inside)
    with somebody(), pytest.raises(StorageError) as refused:
        find(root, "llama/1200")
    for command in re.findall(r"'(setfacl .*?)'", refused.value.hint):
        subprocess.run(command.split(), check=True)
    with somebody():
        assert find(root, "llama/1200") == 3


@pytest.mark.parametrize(
    ("closed", "mode", "words", "command"),
    [
        ("v1", 0o700, "may not list it", "setfacl -R -m u:{user}:rX {path}"),
        ("v1/deep", 0o700, "may not list it", "setfacl -R -m u:{user}:rX {path}"),
        ("", 0o700, "may not enter it", "setfacl -m u:{user}:x {path}"),
    ],
)
def test_a_directory_that_is_closed_is_the_one_that_is_named(
    root: Root, inside: Path, closed: str, mode: int, words: str, command: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    write_files(inside / "v1/deep", FILES)
    (inside / closed).chmod(mode)
    with somebody() as user, pytest.raises(StorageError, match=words) as refused:
        find(root, "v1")
    path = str(inside / closed).rstrip("/")
    assert refused.value.subject == f"directory {path}"
    assert command.format(user=user, path=path) in refused.value.hint


def test_what_is_refused_for_another_reason_is_passed_on(root: Root) -> None:
    other = StorageError(root.absolute("v1"), "is strange")
    with pytest.raises(StorageError) as refused, naming_closed_directories(root):
        raise other
    assert refused.value is other
