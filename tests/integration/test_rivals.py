"""Several contents go by one checkpoint and version, at real daemons."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.observation import CheckRow
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import Conflict, ExitCode, NotFound
from ckptd.limits import MIB
from ckptd.model.manifest import encode_manifest
from ckptd.model.words import FailureCause, PeerState, Result
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.keys import SigningKey
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.hostile_peers import HostilePeer, Reply, claims, hostile_peer
from tests.support.manifests import make_manifest

pytestmark = pytest.mark.integration

KEY = SigningKey.draw()


@pytest.fixture
def split(cluster: Cluster) -> list[Node]:
    """Three nodes: two with one content, one with another."""
    nodes = [cluster.add(name) for name in ("a", "b", "c")]
    for node, seed in zip(nodes, (1, 1, 2), strict=True):
        make_checkpoint(node.path("100"), seed=seed)
    for node in nodes:
        node.wait_ready()
        node.publish(node.path("100"))
    return nodes


def receiver_of(
    cluster: Cluster,
    peers: Sequence[Node | HostilePeer | FaultProxy],
    name: str = "r",
    sections: str = "",
) -> Node:
    """Make a node that has heard of all."""
    addresses = [peer.address for peer in peers]
    receiver = cluster.node(name, peers=addresses, sections=sections)
    wait_heard(receiver)
    return receiver


def wait_heard(receiver: Node) -> None:
    """Return when all of a node's peers answer."""
    eventually(
        lambda: {row.state for row in receiver.client.peers()} == {PeerState.LIVE},
        "every peer answers",
    )


def digests_of(node: Node) -> set[str]:
    return {row.digest for row in node.client.checkpoints()}


def test_whoever_publishes_other_content_learns_who_has_which(
    cluster: Cluster, split: list[Node]
) -> None:
    late = receiver_of(cluster, split)
    make_checkpoint(late.path("mine"), seed=3)
    first = late.publish(late.path("mine"))
    assert {rival.nodes for rival in first.rivals} == {("a", "b"), ("c",)}
    assert late.publish(late.path("mine")).rivals == first.rivals
    assert not first.rivals[0].is_own
    found = {row.subject: row for row in late.client.examine() if isinstance(row, CheckRow)}
    assert found[f"{NAME}@100"].finding.startswith("has 3 contents: ")
    eventually(lambda: "event=version.conflict" in late.log_text(), "the conflict is logged")
    # What somebody else has stays his; what is one's own is superseded.
    make_checkpoint(late.path("mine"), seed=1)
    with pytest.raises(Conflict):
        late.publish(late.path("mine"))
    superseded = late.publish(late.path("mine"), replace=True)
    assert {rival.nodes for rival in superseded.rivals} == {("c",)}
    offered = [row for row in late.client.checkpoints() if "r" in row.nodes]
    assert [row.digest for row in offered] == [superseded.digest]
    # A copy that a recovery brought here leaves the offer as well; its files stay.
    [digest] = [rival.digest for rival in superseded.rivals]
    request = RecoverRequest(
        checkpoint=NAME, version=100, digest=digest, to=str(late.path("fetched"))
    )
    assert late.result(late.client.recover(request).recovery).result is Result.COMPLETE
    again = late.publish(late.path("mine"), replace=True)
    assert {rival.nodes for rival in again.rivals} == {("c",)}
    assert late.path("fetched", "config.json").exists()
    offered = [row for row in late.client.checkpoints() if "r" in row.nodes]
    assert [row.digest for row in offered] == [superseded.digest]


def test_a_person_is_asked_which_of_two_contents_is_meant(
    cluster: Cluster, split: list[Node], capsys: pytest.CaptureFixture[str]
) -> None:
    one, _, other = split
    receiver = receiver_of(cluster, split)
    plan = receiver.client.plan(PlanRequest(checkpoint=NAME))
    assert exit_code_of_plan(plan) is ExitCode.CONFLICT
    assert {rival.nodes for rival in plan.rivals} == {("a", "b"), ("c",)}
    assert "2 contents go by it" in plan.why
    argv = ["--socket", receiver.client.socket_path, "recover", NAME, "--wait"]
    assert ckptctl(argv) == ExitCode.CONFLICT
    said = capsys.readouterr().err
    assert "2 contents go by that version" in said
    assert not receiver.path(NAME).exists()
    [failed] = [receiver.result(row.recovery) for row in receiver.client.recoveries()]
    assert failed.cause is FailureCause.CONFLICT
    assert {rival.nodes for rival in failed.rivals} == {("a", "b"), ("c",)}
    assert all(rival.size_bytes > 0 and not rival.is_own for rival in failed.rivals)
    # Either can be had by saying which.
    [digest] = [rival.digest for rival in failed.rivals if rival.nodes == ("c",)]
    assert digest[:12] in said
    options = ["--digest", digest[:8], "--to", str(receiver.path("by-digest"))]
    assert ckptctl([*argv, *options]) == ExitCode.DONE
    assert tree_digest(receiver.path("by-digest")) == tree_digest(other.path("100"))
    again = receiver_of(cluster, split, "r2")
    argv = ["--socket", again.client.socket_path, "recover", f"{NAME}@100", "--wait", "--from", "b"]
    assert ckptctl(argv) == ExitCode.DONE
    assert tree_digest(again.path(NAME, "100")) == tree_digest(one.path("100"))


def test_what_cannot_be_meant_is_refused_before_anything_is_begun(
    cluster: Cluster, split: list[Node]
) -> None:
    receiver = receiver_of(cluster, split)

    def ask(digest: str = "", from_node: str | None = None) -> None:
        receiver.client.recover(RecoverRequest(checkpoint=NAME, digest=digest, from_node=from_node))

    with pytest.raises(NotFound, match=r"content 00000000: is not known; there are \w{12}, \w{12}"):
        ask(digest="00000000")
    with pytest.raises(NotFound, match="node nobody: was never heard of"):
        ask(from_node="nobody")
    assert receiver.client.recoveries() == []


def test_the_choice_outlives_a_restart(cluster: Cluster, split: list[Node]) -> None:
    receiver = receiver_of(cluster, split)
    split[2].kill()
    eventually(
        lambda: [row.state for row in receiver.client.peers()].count(PeerState.LIVE) == 2,
        "c is lost",
    )
    recovery = receiver.client.recover(
        RecoverRequest(checkpoint=NAME, version=100, from_node="c")
    ).recovery
    receiver.restart()
    split[2].start()
    assert receiver.result(recovery).result is Result.COMPLETE
    assert tree_digest(receiver.path(NAME, "100")) == tree_digest(split[2].path("100"))


def test_a_content_that_this_node_had_wins_without_asking(
    cluster: Cluster, split: list[Node]
) -> None:
    receiver = receiver_of(cluster, split)
    digest = next(iter(digests_of(split[2])))
    request = RecoverRequest(checkpoint=NAME, version=100, digest=digest)
    assert receiver.result(receiver.client.recover(request).recovery).result is Result.COMPLETE
    target = receiver.path(NAME, "100")
    target.rename(receiver.path("gone"))
    receiver.restart()
    wait_heard(receiver)
    plan = receiver.client.plan(PlanRequest(checkpoint=NAME))
    assert (plan.digest, plan.rivals) == (digest, ())
    assert receiver.recover(version=None, to=receiver.path("back")).digest == digest


def test_a_content_that_a_trusted_key_signed_wins_without_asking(
    cluster: Cluster, tmp_path: Path, section: Callable[[SigningKey | None], str]
) -> None:
    nodes = [
        cluster.node("a", sections=section(None)),
        cluster.node("b", sections=section(KEY)),
    ]
    for seed, node in enumerate(nodes):
        node.publish(make_checkpoint(node.path("100"), seed=seed))
    receiver = receiver_of(cluster, nodes, sections=section(None))
    assert receiver.recover().digest == next(iter(digests_of(nodes[1])))


@pytest.fixture
def section(tmp_path: Path) -> Callable[[SigningKey | None], str]:
    """Write key files; a checkpoint may be unsigned."""

    def write(key: SigningKey | None) -> str:
        trusted = tmp_path / "trusted"
        trusted.write_text(f"{KEY.public.text}\n")
        trusted.chmod(0o644)
        lines = ["[signatures]", f'trusted = "{trusted}"']
        if key is not None:
            path = tmp_path / "key.pem"
            path.write_bytes(key.pem())
            path.chmod(0o600)
            lines.append(f'key = "{path}"')
        return "\n".join([*lines, ""])

    return write


@pytest.mark.parametrize("lie", ["wrong manifest", "no manifest", "junk", "no block"])
def test_invented_contents_stop_nobody(cluster: Cluster, lie: str) -> None:
    [source] = cluster.sources("a")
    manifest = make_manifest({"model": b"invented"}, checkpoint=NAME, version=100)
    encoded = b"junk" if lie == "junk" else encode_manifest(manifest)
    digest = hexdigest_of(encoded)
    replies = {"/v1/holdings": claims("evil", manifest, digest)}
    if lie != "no manifest":
        body = b"lies" if lie == "wrong manifest" else encoded
        replies[f"/v1/manifests/{digest}"] = Reply(body)
    with hostile_peer(replies) as liar:
        receiver = receiver_of(cluster, [source, liar])
        plan = receiver.client.plan(PlanRequest(checkpoint=NAME))
        assert len(plan.rivals) == (2 if lie == "no block" else 0)
        result = receiver.recover()
        assert (result.result, result.digest) == (
            Result.COMPLETE,
            next(iter(digests_of(source))),
        )
        trust = receiver.client.peer("evil").trust
        assert trust == (-2 if lie in {"wrong manifest", "junk"} else 0)


def test_a_recovery_in_the_background_waits_or_takes_what_most_have(
    cluster: Cluster, split: list[Node]
) -> None:
    waiting = receiver_of(cluster, split)
    recovery = waiting.begin(is_background=True)
    waiting.wait_view(
        recovery, lambda view: "somebody to choose" in view.waiting_for, "waits for a person"
    )
    counting = receiver_of(cluster, split, "r2", sections='on_conflict = "most-holders"\n')
    result = counting.result(counting.begin(is_background=True))
    assert result.digest == next(iter(digests_of(split[0])))
    assert "the one that most nodes have" in counting.log_text()
    split[0].stop()
    split[1].stop()
    assert waiting.result(recovery).digest == next(iter(digests_of(split[2])))


def test_a_version_that_is_gone_before_anything_came_gives_way_to_the_next(
    cluster: Cluster,
) -> None:
    """The newest one was rotated away by the job while its holder still offers it."""
    holder, other = cluster.add("a"), cluster.add("b")
    for node, version in ((holder, 200), (other, 100)):
        make_checkpoint(node.path(str(version)), seed=version)
        node.wait_ready()
        node.publish(node.path(str(version)), version=version)
    receiver = receiver_of(cluster, [holder, other])
    shutil.rmtree(holder.path("200"))
    result = receiver.recover(version=None)
    assert (result.result, result.version) == (Result.COMPLETE, 100)
    assert tree_digest(receiver.path(NAME, "100")) == tree_digest(other.path("100"))
    assert not receiver.path(".ckptd").exists()


def test_a_version_whose_holder_stays_away_gives_way_when_patience_ends(cluster: Cluster) -> None:
    holder, other = cluster.add("a"), cluster.add("b")
    for node, version in ((holder, 200), (other, 100)):
        make_checkpoint(node.path(str(version)), seed=version)
        node.wait_ready()
        node.publish(node.path(str(version)), version=version)
    with fault_proxy(holder.data_port, rate_bytes_per_s=4 * MIB) as link:
        receiver = receiver_of(cluster, [link, other])
        recovery = receiver.begin(version=None, patience_s=2)
        receiver.wait_bytes(recovery, 2 * MIB)
        holder.kill()
        result = receiver.result(recovery)
    assert (result.result, result.version) == (Result.COMPLETE, 100)
    assert result.wasted["given_up"] >= 2 * MIB
    assert tree_digest(receiver.path(NAME, "100")) == tree_digest(other.path("100"))
    assert not receiver.path(".ckptd").exists()
    assert not receiver.path(NAME, "200").exists()


def test_what_came_of_a_version_that_gave_way_is_there_when_its_holder_returns(
    cluster: Cluster,
) -> None:
    holder, other = cluster.add("a"), cluster.add("b")
    for node, version in ((holder, 200), (other, 100)):
        make_checkpoint(node.path(str(version)), seed=version)
        node.wait_ready()
        node.publish(node.path(str(version)), version=version)
    with (
        fault_proxy(holder.data_port, rate_bytes_per_s=4 * MIB) as link,
        fault_proxy(other.data_port, rate_bytes_per_s=1 * MIB) as other_link,
    ):
        receiver = receiver_of(cluster, [link, other_link])
        recovery = receiver.begin(version=None, patience_s=2)
        receiver.wait_bytes(recovery, 4 * MIB)
        holder.kill()
        receiver.wait_view(recovery, lambda view: view.version == 100, "another is chosen")
        receiver.wait_bytes(recovery, 1 * MIB)
        holder.start()
        eventually(
            lambda: 200 in [row.version for row in receiver.client.checkpoints()], "it returns"
        )
        other.kill()
        result = receiver.result(recovery)
    assert (result.result, result.version) == (Result.COMPLETE, 200)
    assert result.bytes_resumed >= 2 * MIB
    assert tree_digest(receiver.path(NAME, "200")) == tree_digest(holder.path("200"))
    assert not receiver.path(".ckptd").exists()
