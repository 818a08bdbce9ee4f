"""Daemons of this state of the code and of the one before it recover from each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ckptd.errors import ExitCode
from ckptd.limits import MIB
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.coming_coded import until_coded
from tests.support.metrics_page import samples
from tests.support.weights import weights

pytestmark = pytest.mark.integration

BEFORE = "f30982f2"
"""The last commit before issue 19: what a node runs that is not upgraded yet."""

BEFORE_CODED = "c15998f7"
"""The last commit that knows no coded blocks. What its daemons say to each other is recorded:
``test_recorded_dialogue.py``."""

LINK = """
[limits]
egress = "24MiB/s"
[serving]
coding = "8 cores"
"""
"""Over it coding pays."""

NEWER = "kept_warm_bytes"
"""A metric that the code had not then: so it is seen which code a daemon runs."""


@pytest.fixture(scope="module")
def older_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was, in a directory of its own."""
    return code_of(BEFORE, tmp_path_factory.mktemp("older"))


def code_of(commit: str, path: Path) -> Path:
    """Put the package as it was into a directory, and return that."""
    try:
        archive = subprocess.run(
            ("git", "archive", commit, "ckptd"),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the history of the repository")
    subprocess.run(("tar", "-x", "-C", path), input=archive.stdout, check=True)
    return path


def runs_before(node: Node) -> bool:
    return not samples(node, NEWER)


def ctl(node: Node, *words: str | Path) -> None:
    """Run ``ckptctl`` of the code that a node's daemon runs, as whoever is on it does."""
    command = (sys.executable, "-m", "ckptd.cli.ctl.command", "--socket", node.client.socket_path)
    done = subprocess.run(
        (*command, *words), env=node.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.DONE, done.stderr


def publish(node: Node, version: int) -> Path:
    """Let a node publish a version of its own."""
    path = make_checkpoint(node.path(str(version)), seed=version)
    ctl(node, "publish", path, "--checkpoint", NAME, "--version", str(version))
    return path


def write_weights(node: Node, version: int) -> Path:
    """Let a node have neighbouring weights: enough of them that it is known what a link brings."""
    path = node.path(str(version))
    path.mkdir()
    (path / "model.bin").write_bytes(weights(version, 2 * MIB) * 12)
    return path


def recover(node: Node, version: int, sources: set[str], original: Path) -> None:
    """Let a node recover a version of which it is to know some holders."""
    eventually(lambda: node.holders(version) >= sources, f"{node.node} knows the holders")
    ctl(node, "recover", f"{NAME}@{version}", "--wait")
    assert tree_digest(node.path(NAME, str(version))) == tree_digest(original)


def recover_part(node: Node, version: int, *patterns: str) -> None:
    """Let a node recover some units of a version."""
    eventually(lambda: node.holders(version), f"{node.node} knows a holder")
    chosen = [word for pattern in patterns for word in ("--units", pattern)]
    ctl(node, "recover", f"{NAME}@{version}", *chosen, "--wait")


def test_older_and_newer_daemons_recover_from_each_other(
    cluster: Cluster, older_code: Path
) -> None:
    older = {"PYTHONPATH": str(older_code), "PYTHONSAFEPATH": "1"}
    first = cluster.prepare("older-1", environment=older)
    newer = cluster.prepare("newer-1", peers=[first.address])
    parts = [cluster.prepare(name, peers=[newer.address]) for name in ("newer-2", "newer-3")]
    others = [node.address for node in (first, newer, *parts)]
    older_third = cluster.prepare("older-2", peers=others, environment=older)
    newer_third = cluster.prepare("newer-4", peers=[newer.address, older_third.address])
    nodes = (first, newer, *parts, older_third, newer_third)
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait_ready()
    assert [runs_before(node) for node in nodes] == [node.node[:5] == "older" for node in nodes]

    from_older = publish(first, 100)
    recover(newer, 100, {"older-1"}, from_older)
    recover(older_third, 100, {"older-1", "newer-1"}, from_older)
    recover(newer_third, 100, {"newer-1", "older-2"}, from_older)

    # Of a version that is nowhere as a whole nodes have parts by choice, which was not known then.
    from_newer = publish(newer, 101)
    recover_part(parts[0], 101, "model-1*", "a/*")
    recover_part(
        parts[1], 101, "model-2*", "config.json", "empty", "optimizer/*", "run.sh", "small/*"
    )
    ctl(newer, "forget", f"{NAME}@101")
    eventually(lambda: not older_third.holders(101), "it is nowhere as a whole")
    recover(older_third, 101, set(), from_newer)
    recover(newer_third, 101, {"older-2"}, from_newer)


def test_who_knows_no_coded_blocks_gets_them_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    older = {"PYTHONPATH": str(code_of(BEFORE_CODED, tmp_path)), "PYTHONSAFEPATH": "1"}
    source = cluster.prepare("newer-1", sections=LINK)
    receiver = cluster.prepare("newer-2", peers=[source.address])
    older_receiver = cluster.prepare("older-1", peers=[receiver.address], environment=older)
    for node in (source, receiver, older_receiver):
        node.start()
    for node in (source, receiver, older_receiver):
        node.wait_ready()

    def recover_newer(version: int) -> None:
        original = write_weights(source, version)
        source.publish(original, NAME, version, critical=(), deferred=())
        result = receiver.recover(NAME, version)
        assert tree_digest(result.target) == tree_digest(original)

    recover_newer(1)
    latest = until_coded(receiver, recover_newer, first=2).version
    recover(older_receiver, latest, {"newer-2"}, source.path(str(latest)))
