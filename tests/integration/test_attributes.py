"""What a version looks like beside its bytes comes back where it is recovered, and no more."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from ckptd.model.words import Result
from ckptd.store.files.keys import SigningKey
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint

pytestmark = pytest.mark.integration

MODES = {
    "config.json": 0o600,
    "empty": 0o444,
    "model-1.safetensors": 0o664,
    "run.sh": 0o755,
    "small/01": 0o666,
    "small": 0o2770,
    "a/b": 0o711,
    "": 0o750,
}
HOUR_NS = 3_600_000_000_000


def looks(directory: Path | str) -> dict[str, tuple[int, int]]:
    """Return mode and time of everything in a directory, and of itself."""
    found = {}
    for path in (Path(directory), *Path(directory).rglob("*")):
        facts = path.lstat()
        relative = str(path.relative_to(directory))
        name = "" if relative == "." else relative
        found[name] = (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
    return found


def dress(directory: Path, age_h: int = 1) -> Path:
    """Give what was made modes of all kinds and times of the past."""
    for path in (*directory.rglob("*"), directory):
        relative = str(path.relative_to(directory)) if path != directory else ""
        path.chmod(MODES.get(relative, path.stat().st_mode & 0o755))
        time_ns = 1_700_000_000_123_456_789 - age_h * HOUR_NS + len(relative)
        os.utime(path, ns=(time_ns, time_ns))
    return directory


def permitted(found: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return what a node gives that was not configured: nothing that others may write."""
    return {name: (mode & ~0o002, time_ns) for name, (mode, time_ns) in found.items()}


def source_of(cluster: Cluster, name: str = "a", sections: str = "") -> Node:
    source = cluster.node(name, sections=sections)
    source.publish(dress(make_checkpoint(source.path("100"))))
    return source


def test_modes_and_times_travel_with_a_version_from_node_to_node(cluster: Cluster) -> None:
    source = source_of(cluster)
    published = looks(source.path("100"))
    first = cluster.node("b", peers=[source.address])
    assert looks(first.recover().target) == permitted(published)
    source.kill()
    first.restart()
    second = cluster.node("c", peers=[first.address])
    assert looks(second.recover().target) == permitted(published)
    # A second place is filled from the first, whatever a peer could bring sooner.
    first.kill()
    copied = second.recover(to=second.path("copy"))
    assert (copied.bytes_received, looks(copied.target)) == (0, permitted(published))


def test_a_node_gives_no_more_than_it_is_configured_to(cluster: Cluster) -> None:
    source = source_of(cluster)
    receiver = cluster.node("r", peers=[source.address], sections='mode = "0640"\n')
    found = {name: mode for name, (mode, _) in looks(receiver.recover().target).items()}
    assert found["config.json"] == 0o600
    assert found["model-1.safetensors"] == found["small/01"] == 0o640
    assert found["run.sh"] == found[""] == 0o750
    assert (found["small"], found["a/b"]) == (0o2750, 0o710)


def test_nodes_with_the_same_bytes_have_one_identity_and_the_narrowest_counts(
    cluster: Cluster,
) -> None:
    narrow = source_of(cluster)
    wide = cluster.node("b")
    made = make_checkpoint(wide.path("100"))
    digests = {
        narrow.publish(narrow.path("100")).digest,
        wide.publish(made).digest,
    }
    assert len(digests) == 1
    receiver = cluster.node("r", peers=[wide.address, narrow.address])
    result = receiver.recover()
    assert looks(result.target) == permitted(looks(narrow.path("100")))


def test_a_version_of_which_nobody_knows_modes_is_private(cluster: Cluster) -> None:
    """As from a node that does not know of them."""
    source = source_of(cluster)
    old = cluster.node("old", peers=[source.address])
    old.recover()
    source.kill()
    _forget_attributes(old)  # which it had from the other one alone
    old.wait_ready()
    receiver = cluster.node("r", peers=[old.address])
    result = receiver.recover()
    assert result.result is Result.COMPLETE
    for name, (mode, _) in looks(result.target).items():
        is_directory = Path(result.target, name).is_dir()
        assert mode == (0o700 if is_directory or name == "run.sh" else 0o600), name
    assert "attributes.missing" in receiver.log_text()
    # Publishing again adds them to what is the same version.
    old.publish(old.path("llama/rank-3/100"))
    again = receiver.recover(to=receiver.path("again"))
    assert looks(again.target) == permitted(looks(source.path("100")))


def test_what_was_published_by_an_older_daemon_gets_modes_when_a_newer_one_starts(
    cluster: Cluster,
) -> None:
    source = source_of(cluster)
    changed = dress(make_checkpoint(source.path("101"), seed=2))
    source.publish(changed, version=101)
    (changed / "small/02").chmod(0o600)  # nobody knows any more what it was
    _forget_attributes(source, count=2)
    eventually(lambda: "attributes.made" in source.log_text(), "they are made")
    receiver = cluster.node("r", peers=[source.address])
    assert looks(receiver.recover().target) == permitted(looks(source.path("100")))
    private = looks(receiver.recover(version=101).target)
    assert private["config.json"][0] == 0o600


def _forget_attributes(node: Node, count: int = 1) -> None:
    """Start a daemon again with a database as an older one has it."""
    node.kill()
    with sqlite3.connect(Path(node.state_dir, "ckptd.db")) as connection:
        assert connection.execute("DELETE FROM attributes").rowcount == count
    connection.close()
    node.start()
    node.wait_ready()


def test_what_is_put_right_looks_as_before(cluster: Cluster) -> None:
    source = source_of(cluster)
    receiver = cluster.node("r", peers=[source.address])
    target = Path(receiver.recover().target)
    before = looks(target)
    (target / "small/02").unlink()
    (target / "config.json").write_bytes(b"somebody's")
    shutil.rmtree(target / "a")
    for path in ("small", ""):
        os.utime(target / path, ns=(before[path][1], before[path][1]))
    assert receiver.recover(overwrite=True).result is Result.COMPLETE
    assert looks(target) == before


def test_older_versions_do_not_become_the_newest_by_being_recovered(cluster: Cluster) -> None:
    source = cluster.node("a")
    for version in (800, 900, 1000):
        made = dress(make_checkpoint(source.path(str(version))), age_h=2000 - version)
        source.publish(made, version=version)
    receiver = cluster.node("r", peers=[source.address])
    for version in (1000, 900, 800):
        receiver.recover(version=version, to=receiver.path(f"checkpoint-{version}"))
    by_age = sorted(receiver.path().glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    assert [path.name for path in by_age] == ["checkpoint-800", "checkpoint-900", "checkpoint-1000"]


def test_where_manifests_must_be_signed_modes_must_be_too(cluster: Cluster, tmp_path: Path) -> None:
    key = SigningKey.draw()
    (tmp_path / "key").write_bytes(key.pem())
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "trusted").write_text(f"{key.public.text}\n")
    (tmp_path / "trusted").chmod(0o644)
    trusting = f'[signatures]\ntrusted = "{tmp_path}/trusted"\nrequire = ["llama/*"]\n'
    signing = source_of(cluster, sections=f'[signatures]\nkey = "{tmp_path}/key"\n')
    narrower = cluster.node("b")
    made = make_checkpoint(narrower.path("100"))
    for path in made.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.name == "run.sh" else 0o600)
    narrower.publish(made)
    receiver = cluster.node("r", peers=[signing.address, narrower.address], sections=trusting)
    assert looks(receiver.recover().target) == permitted(looks(signing.path("100")))
    assert "attributes.refused" in receiver.log_text()
    signing.kill()
    # What was verified here is passed on with its signature.
    second = cluster.node("s", peers=[receiver.address], sections=trusting)
    assert looks(second.recover().target) == permitted(looks(signing.path("100")))
