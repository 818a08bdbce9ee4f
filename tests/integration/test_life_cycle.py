"""Versions that come and go: paths that are used again, versions that are taken off offer."""

from __future__ import annotations

import os
import shutil
import sqlite3

import msgspec
import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.life_cycle import LetGoRequest, RemoveRequest, RemoveResult
from ckptd.errors import Conflict, NotFound, StorageError
from ckptd.limits import HOLDINGS_MAX, KIB
from ckptd.model.words import FailureCause, Result
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 700 * KIB)]


@pytest.fixture
def source(cluster: Cluster) -> Node:
    """A node with versions 100 and 200."""
    node = cluster.node("a")
    for version in (100, 200):
        make_checkpoint(node.path(f"{version}"), seed=version, files=FILES)
        node.publish(node.path(f"{version}"), version=version, deferred=())
    return node


@pytest.fixture
def receiver(cluster: Cluster, source: Node) -> Node:
    return cluster.node("r", peers=[source.address])


class TestOrphans:
    def test_staging_that_no_journal_knows_is_removed_at_the_start(self, receiver: Node) -> None:
        paused = receiver.begin()
        receiver.client.pause(paused)
        receiver.stop()
        orphan = receiver.path(".ckptd/r-00000000000f/deep")
        orphan.mkdir(parents=True)
        (orphan / "weights.bin").write_bytes(b"half")
        kept = receiver.path(".ckptd/replaced/weights.bin")
        kept.parent.mkdir()
        kept.write_bytes(b"somebody's")
        receiver.restart()
        eventually(lambda: not orphan.parent.exists(), "the orphan is gone")
        eventually(lambda: "staging.orphan_removed" in receiver.log_text(), "the log has a line")
        assert kept.exists()
        receiver.client.resume(paused)
        assert receiver.result(paused).result is Result.COMPLETE


class TestFreePaths:
    def test_a_path_is_used_again_after_what_stood_there_was_removed(
        self, source: Node, receiver: Node
    ) -> None:
        current = receiver.path("current")
        assert receiver.recover(to=current).result is Result.COMPLETE
        shutil.rmtree(current)
        assert receiver.recover(version=200, to=current).result is Result.COMPLETE
        assert tree_digest(current) == tree_digest(source.path("200"))

    def test_an_empty_directory_is_no_obstacle(self, source: Node, receiver: Node) -> None:
        receiver.recover(to=receiver.path("current"))
        shutil.rmtree(receiver.path("current"))
        receiver.path("current").mkdir()
        assert receiver.recover(version=200, to=receiver.path("current")).result is Result.COMPLETE
        assert tree_digest(receiver.path("current")) == tree_digest(source.path("200"))

    def test_what_stands_there_is_in_the_way_above_and_below(self, receiver: Node) -> None:
        assert receiver.recover(to=receiver.path("deep/current")).result is Result.COMPLETE
        for target in ("deep/current", "deep/current/inner", "deep"):
            result = receiver.recover(version=200, to=receiver.path(target))
            assert (result.result, result.cause) == (Result.FAILED, FailureCause.STORE)
            assert f"overlaps {NAME}@100" in result.message


class TestFullCatalog:
    """As after nine days of eight ranks that save every ten minutes."""

    @pytest.fixture
    def full(self, receiver: Node) -> Node:
        """A node whose catalog has all versions that it takes, of files that are gone."""
        receiver.stop()
        with sqlite3.connect(f"{receiver.state_dir}/ckptd.db") as connection:
            for number in range(HOLDINGS_MAX):
                digest = f"{number:064x}"
                connection.execute(
                    "INSERT INTO versions (digest, checkpoint, version, size_bytes, block_count,"
                    " manifest) VALUES (?, 'old', ?, 1, 1, x'00')",
                    (digest, number),
                )
                connection.execute(
                    "INSERT INTO places (digest, root, directory, is_published, is_withdrawn,"
                    " files, added_at_s, checked_at_s, scrubbed_units)"
                    " VALUES (?, 'main', ?, 1, 0, x'90', 0.0, 0.0, 0)",
                    (digest, f"old/{number}"),
                )
        connection.close()
        receiver.restart()
        return receiver

    def test_nothing_is_hashed_or_travels_for_what_finds_no_room(self, full: Node) -> None:
        with pytest.raises(StorageError, match=r"has room for 10,000 versions.*ckptctl forget"):
            full.begin()
        assert full.client.recoveries() == []
        newest = full.result(full.begin(version=None))
        assert (newest.result, newest.cause) == (Result.FAILED, FailureCause.STORE)
        assert (newest.version, newest.bytes_received) == (200, 0)
        assert "ckptctl forget" in newest.message
        make_checkpoint(full.path("new"), files=FILES)
        with pytest.raises(StorageError, match="has room for 10,000 versions"):
            full.publish(full.path("new"), "new", 1)
        full.client.forget(LetGoRequest(checkpoint="old", version=7))
        assert full.recover().result is Result.COMPLETE
        full.client.forget(LetGoRequest(checkpoint="old"))
        assert {row.checkpoint for row in full.client.checkpoints()} == {NAME}


class TestWithdrawing:
    def test_peers_hear_of_it_at_once_and_publishing_puts_it_back(
        self, source: Node, receiver: Node
    ) -> None:
        eventually(lambda: receiver.holders() == {"a"}, "the offer is known")
        done = source.client.withdraw(LetGoRequest(checkpoint=NAME, version=100))
        assert [row.version for row in done.places] == [100]
        eventually(lambda: not receiver.holders(), "the withdrawal is known")
        assert receiver.holders(200) == {"a"}
        assert source.path("100/weights.bin").exists()
        source.restart()
        eventually(lambda: receiver.holders(200) == {"a"}, "the source is back")
        assert not receiver.holders()
        again = source.client.withdraw(LetGoRequest(checkpoint=NAME, version=100))
        assert again.places == ()
        assert source.publish(source.path("100"), deferred=()).is_back
        eventually(lambda: receiver.holders() == {"a"}, "it is on offer again")
        assert not source.publish(source.path("100"), deferred=()).is_back
        assert receiver.recover().result is Result.COMPLETE

    def test_a_receiver_in_the_middle_of_it_goes_elsewhere_and_blames_nobody(
        self, cluster: Cluster
    ) -> None:
        limit = '[limits]\negress = "8MiB/s"\n'
        nodes = [cluster.node(name, sections=limit) for name in ("a", "b")]
        for node in nodes:
            make_checkpoint(node.path("100"))
            node.publish(node.path("100"))
        receiver = cluster.node("r", peers=[node.address for node in nodes])
        recovery = receiver.begin()
        receiver.wait_view(recovery, lambda view: len(view.sources) == 2, "both give")
        nodes[0].client.withdraw(LetGoRequest(checkpoint=NAME))
        result = receiver.result(recovery)
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(nodes[1].path("100"))
        withdrawn = receiver.client.peer("a")
        assert (withdrawn.quarantines, withdrawn.bad_blocks, withdrawn.evidence) == (0, 0, ())

    def test_only_one_place_of_several_is_withdrawn_if_it_is_named(
        self, source: Node, receiver: Node
    ) -> None:
        for place in ("one", "two"):
            receiver.recover(to=receiver.path(place))
        request = LetGoRequest(checkpoint=NAME, version=100, place=str(receiver.path("one")))
        dry = receiver.client.withdraw(msgspec.structs.replace(request, is_dry_run=True))
        assert [row.directory for row in dry.places] == [str(receiver.path("one"))]
        assert receiver.client.withdraw(request).places[0].is_elsewhere
        eventually(lambda: receiver.holders() == {"a", "r"}, "the other place still serves")
        receiver.client.withdraw(LetGoRequest(checkpoint=NAME))
        eventually(lambda: receiver.holders() == {"a"}, "nothing serves any more")


class TestForgetting:
    def test_all_versions_of_a_name_go_and_their_files_stay(
        self, source: Node, receiver: Node
    ) -> None:
        with pytest.raises(NotFound, match="does not stand on this node"):
            receiver.client.forget(LetGoRequest(checkpoint=NAME))
        dry = source.client.forget(LetGoRequest(checkpoint=NAME, is_dry_run=True))
        assert [row.version for row in dry.places] == [100, 200]
        assert source.holders() == {"a"}
        source.client.forget(LetGoRequest(checkpoint=NAME))
        assert source.client.checkpoints() == []
        assert source.path("100/weights.bin").exists()
        eventually(lambda: not receiver.holders(), "peers know")
        source.restart()
        assert source.client.checkpoints() == []
        assert source.publish(source.path("100"), deferred=()).is_new

    def test_a_place_that_a_recovery_is_on_its_way_to_is_left_alone(
        self, source: Node, receiver: Node
    ) -> None:
        receiver.recover(to=receiver.path("deep"))
        waiting = receiver.begin("nobody/has/it", 1, to=receiver.path("deep/inner"))
        with pytest.raises(Conflict, match=f"is where {waiting} recovers to"):
            receiver.client.forget(LetGoRequest(checkpoint=NAME))
        assert receiver.holders() == {"a", "r"}
        receiver.client.cancel(waiting)
        receiver.client.forget(LetGoRequest(checkpoint=NAME))
        assert receiver.holders() == {"a"}


class TestRemoving:
    def remove(self, node: Node, version: int = 100, **how: object) -> RemoveResult:
        request = RemoveRequest(checkpoint=NAME, version=version, **how)  # type: ignore[arg-type]
        *_, last = node.client.remove(request)
        assert isinstance(last, RemoveResult)
        return last

    def test_files_and_directory_go_and_the_offer_first(self, source: Node, receiver: Node) -> None:
        eventually(lambda: receiver.holders() == {"a"}, "the offer is known")
        dry = self.remove(source, is_dry_run=True)
        assert source.path("100/weights.bin").exists()
        done = self.remove(source)
        assert dry.places == done.places
        assert (done.places[0].files, done.places[0].removed_bytes) == (2, 200 + 700 * KIB)
        assert not source.path("100").exists()
        assert source.path("200/weights.bin").exists()
        eventually(lambda: not receiver.holders(), "peers know")
        assert source.holders(200) == {"a"}

    def test_a_changed_file_keeps_all_of_it_unless_it_may_go(self, source: Node) -> None:
        source.path("100/config.json").write_text("mine")
        os.chmod(source.path("100/weights.bin"), 0o600)  # the same bytes
        with pytest.raises(Conflict, match=r"was changed, and nothing was removed.*config\.json"):
            self.remove(source)
        assert source.path("100/weights.bin").exists()
        assert source.holders(200) == {"a"}
        done = self.remove(source, overwrite=True)
        assert done.places[0].changed == ("config.json",)
        assert not source.path("100").exists()

    def test_other_files_stay(self, source: Node) -> None:
        source.path("100/notes").write_text("mine")
        assert not self.remove(source).places[0].is_directory_gone
        assert os.listdir(source.path("100")) == ["notes"]
        assert {row.version for row in source.client.checkpoints()} == {200}

    def test_all_places_go_or_the_one_that_is_named(self, receiver: Node) -> None:
        for place in ("one", "two", "three"):
            receiver.recover(to=receiver.path(place))
        self.remove(receiver, place=str(receiver.path("two")))
        assert sorted(os.listdir(receiver.root)) == ["one", "three"]
        assert len(self.remove(receiver).places) == 2
        assert os.listdir(receiver.root) == []
        assert receiver.holders() == {"a"}

    def test_a_place_that_shares_files_with_another_is_left_alone(self, source: Node) -> None:
        source.publish(source.path("100"), "alias", 1, deferred=())
        with pytest.raises(Conflict, match="shares files with alias@1"):
            self.remove(source)
        source.client.forget(LetGoRequest(checkpoint="alias"))
        self.remove(source)
        assert not source.path("100").exists()

    def test_of_files_that_were_published_by_themselves_one_goes_and_nothing_else(
        self, source: Node
    ) -> None:
        run = source.path("run")
        run.mkdir()
        for step in (1, 2):
            (run / f"step={step}.ckpt").write_bytes(os.urandom(100))
            source.publish(run / f"step={step}.ckpt", "run", step, critical=(), deferred=())
        (run / "last.ckpt").symlink_to("step=2.ckpt")
        source.publish(run / "last.ckpt", "last", 2, critical=(), deferred=())
        *_, last = source.client.remove(RemoveRequest(checkpoint="run", version=1))
        assert isinstance(last, RemoveResult)
        assert (last.places[0].files, last.places[0].is_directory_gone) == (1, False)
        assert sorted(os.listdir(run)) == ["last.ckpt", "step=2.ckpt"]
        with pytest.raises(Conflict, match="shares files with last@2"):
            list(source.client.remove(RemoveRequest(checkpoint="run", version=2)))
        assert sorted(os.listdir(run)) == ["last.ckpt", "step=2.ckpt"]

    def test_a_crash_between_leaves_a_version_that_is_not_on_offer(
        self, source: Node, receiver: Node
    ) -> None:
        """As it is after a daemon was killed when it had withdrawn and begun to remove."""
        source.client.withdraw(LetGoRequest(checkpoint=NAME, version=100))
        source.path("100/config.json").unlink()
        source.kill()
        source.restart()
        eventually(lambda: receiver.holders(200) == {"a"}, "the source is back")
        assert not receiver.holders()
        self.remove(source)
        assert not source.path("100").exists()


class TestDeltas:
    def test_what_a_version_that_was_recovered_is_a_delta_on_is_not_let_go_over_a_restart(
        self, source: Node, receiver: Node
    ) -> None:
        said = {"version": "000101", "base_version": "000100", "delta_encoding": "xor"}
        make_checkpoint(source.path("101"), seed=101, files=FILES)
        index = source.path("101") / "model.safetensors.index.json"
        index.write_bytes(msgspec.json.encode({"metadata": said, "weight_map": {}}))
        source.publish(source.path("101"), version=101, deferred=())
        assert receiver.recover(version=101, to=receiver.path("101")).result is Result.COMPLETE
        (row,) = [each for each in receiver.client.checkpoints() if each.version == 101]
        assert row.chain is not None
        assert (row.chain.base, row.chain.lacking) == (100, 100)
        base_digest = row.chain.base_digest
        assert receiver.recover(version=100, to=receiver.path("100")).result is Result.COMPLETE
        receiver.restart()
        forget = LetGoRequest(checkpoint=NAME, version=100)
        with pytest.raises(Conflict, match="101 is a delta on it"):
            receiver.client.forget(forget)
        rows = {each.version: each for each in receiver.client.checkpoints()}
        assert (rows[100].digest, rows[101].chain and rows[101].chain.full) == (base_digest, 100)
        receiver.client.forget(LetGoRequest(checkpoint=NAME, version=101))
        receiver.client.forget(forget)
