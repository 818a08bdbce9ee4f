"""Two users: the daemon that recovers, and the job that what comes back belongs to."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.messages.life_cycle import RemoveRequest, RemoveResult
from ckptd.control.messages.observation import CheckRow
from ckptd.errors import ExitCode
from ckptd.model.words import CheckResult, Result
from tests.support.cluster import WAIT_S, Cluster, Node, make_checkpoint, tree_digest
from tests.support.two_users import (
    DAEMON,
    TRAINER,
    as_daemon,
    as_trainer,
    can_be_two_users,
    cluster_of_two_users,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
]

OTHER = 64003


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster where other users reach its files."""
    if not can_be_two_users(",+chown"):
        pytest.skip("another user cannot use this Python, or root may not give CAP_CHOWN")
    with cluster_of_two_users() as made:
        yield made


def receiver_of(cluster: Cluster, source: Node, recovery: str, capabilities: str) -> Node:
    node = cluster.prepare("r", peers=[source.address], sections=f"{recovery}\n")
    for path in (cluster.directory / "r", *(cluster.directory / "r").rglob("*")):
        shutil.chown(path, DAEMON, DAEMON)
    node.prefix = as_daemon(capabilities)
    node.start()
    return node


def everything(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


def test_the_job_reads_appends_and_rotates_and_the_daemon_repairs_serves_and_removes(
    cluster: Cluster,
) -> None:
    source = cluster.node("s")
    made = make_checkpoint(source.path("100"))
    source.publish(made)
    source.publish(make_checkpoint(source.path("101"), seed=2), version=101)
    said = f"owner = {OTHER}\n[recovery.roots.main]\nowner = {TRAINER}"  # the root's goes before
    node = receiver_of(cluster, source, said, ",+chown")
    node.wait_ready()
    (row,) = (
        row for row in node.client.examine() if isinstance(row, CheckRow) and row.check == "owner"
    )
    assert row.verdict is CheckResult.OK
    target = Path(node.recover().target)
    for path in everything(target):
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid) == (TRAINER, DAEMON), path
        assert not facts.st_mode & (stat.S_ISUID | stat.S_IWOTH)
    assert tree_digest(target) == tree_digest(made)
    assert (target / "config.json").stat().st_mtime_ns == (made / "config.json").stat().st_mtime_ns
    # The daemon puts right what rots, also below directories that are the job's.
    _let_rot(node, target / "small/07", target)
    assert tree_digest(target) == tree_digest(made)
    # It serves it, after a restart too.
    source.kill()
    node.restart()
    third = cluster.node("t", peers=[node.address])
    assert tree_digest(third.recover().target) == tree_digest(made)
    # And removes it.
    *_, removed = node.client.remove(RemoveRequest(checkpoint="llama/rank-3", version=100))
    assert isinstance(removed, RemoveResult)
    assert not target.exists()
    source.start()
    source.wait_ready()
    _append_and_rotate(Path(node.recover(version=101).target))


def _let_rot(node: Node, rotten: Path, target: Path) -> None:
    with rotten.open("r+b") as file:
        file.write(b"!")
    assert node.recover(to=target, overwrite=True).result is Result.COMPLETE
    assert (rotten.stat().st_uid, rotten.stat().st_gid) == (TRAINER, DAEMON)


def _append_and_rotate(second: Path) -> None:
    def append_and_rotate() -> None:
        with (second / "config.json").open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(b"more")
        (second / "new").write_bytes(b"beside it")
        shutil.rmtree(second)

    as_trainer(append_and_rotate)
    assert not second.exists()


def test_a_daemon_that_may_not_give_files_away_does_not_start(cluster: Cluster) -> None:
    node = receiver_of(cluster, cluster.node("s"), f"owner = {TRAINER}", "")
    assert node.wait_ended(WAIT_S) == ExitCode.CONFIGURATION
    text = node.log_text()
    assert f"recovery.owner: the daemon may not give files to uid {TRAINER}" in text
    assert "40-owner.conf" in text
    assert "CAP_CHOWN" in text


def test_a_job_with_an_entry_in_the_access_list_of_the_parent_has_one_in_what_comes(
    cluster: Cluster,
) -> None:
    """As the kernel does for what a program makes there; modes bound it."""
    source = cluster.node("s")
    made = make_checkpoint(source.path("100"))
    for path in everything(made):
        path.chmod(path.stat().st_mode | 0o060 if path.is_file() else 0o775)
    source.publish(made)
    node = receiver_of(cluster, source, "", "")
    node.wait_ready()
    parent = node.path("llama")
    parent.mkdir()
    shutil.chown(parent, DAEMON, DAEMON)
    try:
        os.setxattr(parent, "system.posix_acl_default", handed_on(TRAINER))
        os.setxattr(parent, "system.posix_acl_access", handed_on(TRAINER))
    except OSError as refused:
        pytest.skip(f"no access lists here: {refused}")
    target = Path(node.recover().target)
    assert target.is_relative_to(parent)
    for path in everything(target):
        assert path.stat().st_uid == DAEMON

    def append_and_rotate() -> None:
        for path in everything(target):
            if path.is_file():
                with path.open("ab") as file:
                    file.write(b"more")
        shutil.rmtree(target)

    as_trainer(append_and_rotate)


def handed_on(uid: int) -> bytes:
    """Return an access list: the owner and one more user everything, others nothing."""
    entries = [(0x01, 7, -1), (0x02, 7, uid), (0x04, 0, -1), (0x10, 7, -1), (0x20, 0, -1)]
    packed = [struct.pack("<HHI", tag, bits, number % 2**32) for tag, bits, number in entries]
    return struct.pack("<I", 2) + b"".join(packed)
