"""``ckptctl demo`` as people run it: five daemons, one of them killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.demo.course import recover
from ckptd.cli.demo.demo_checkpoint import PlannedFile, compare, write_checkpoint
from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.demo.demo_place import root_of
from ckptd.cli.demo.demo_report import Killing
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import ExitCode, NotFound
from ckptd.limits import BLOCK_BYTES_MIN, MIB
from ckptd.model.words import Stage
from tests.support.cluster import Cluster, eventually, make_checkpoint, tree_digest
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import RESULT, VIEW

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

replace = msgspec.structs.replace

FINISHED_S = 240
"""Ten daemons start one after the other on a machine that is busy with other tests."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for temporary files: control sockets need a short path."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def demo(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "ckptd.cli.ctl.command", "demo", *arguments),
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=FINISHED_S)
    return process.returncode, out, err


def processes_in(place: Path) -> list[str]:
    """Return the command lines that name a place."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if os.fsencode(place) in command:
            found.append(os.fsdecode(command))
    return found


def test_the_demonstration_loses_a_checkpoint_and_gets_it_back(place: Path) -> None:
    code, out, err = finish(demo(place, "--size", "128MiB"))
    assert code == ExitCode.DONE, out + err
    assert "128 MiB: names, sizes, modes and every byte the same" in out
    assert out.splitlines()[-1] in {
        "The checkpoint is back, bit for bit, although a source died half-way.",
        "before a source could be killed.",  # on a machine that is faster than the demonstration
    }
    assert "\x1b" not in out + err
    assert (os.listdir(place), processes_in(place)) == ([], [])


def test_two_nodes_of_a_job_get_back_the_version_that_is_whole_and_so_has_everybody(
    place: Path,
) -> None:
    code, out, err = finish(demo(place, "--job", "--size", "16MiB"))
    assert code == ExitCode.DONE, out + err
    assert "shard 2/8 is missing" in out
    assert "llama@1200 with 8 shards, say all 8 nodes" in out
    # Six nodes have four files of each of two ranks, two have one config.json for both.
    assert "62 files on all nodes, 32 MiB" in out
    assert out.splitlines()[-1] == (
        "One version on all nodes, bit for bit, although a newer one was half published."
    )
    assert len((out + err).splitlines()) < 24
    assert (os.listdir(place), processes_in(place)) == ([], [])


def test_somebodys_own_directory_is_only_read(place: Path, tmp_path: Path) -> None:
    own = make_checkpoint(tmp_path / "cache/versions/1")
    (tmp_path / "cache/blob").write_text("elsewhere")
    (own / "link").symlink_to("../../blob")
    before = tree_digest(own)
    code, out, err = finish(demo(place, str(own), "--keep"))
    assert code == ExitCode.DONE, out + err
    assert tree_digest(own) == before
    (kept,) = place.iterdir()
    recovered = tree_digest(kept / "recovered/demo/rank-0/1200")
    assert recovered.keys() == before.keys()
    assert (kept / "recovered/demo/rank-0/1200/link").read_text() == "elsewhere"


class Unfolding(StandInDaemon):
    """Shows a recovery one view at a time."""

    def recovery(self, recovery: str) -> RecoveryView:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


def test_the_busiest_source_is_killed_once_half_is_here(cluster: Cluster) -> None:
    sources = [cluster.node("node-b"), cluster.node("node-c")]
    receiver = LocalDaemon(str(cluster.directory), node="node-e", root=str(cluster.directory))
    few = replace(VIEW, bytes_verified=20 * MIB, bytes_left=80 * MIB, bytes_total=100 * MIB)
    most = replace(few, bytes_verified=60 * MIB, bytes_left=40 * MIB)
    views = (few, few, most, replace(most, stage=Stage.COMPLETE))
    with serving(Unfolding(views=views, watching=[RESULT]), receiver.client.socket_path):
        result, killing = recover(receiver, sources)
    assert (result, killing) == (RESULT, Killing("node-b", 60))
    assert [source.is_running for source in sources] == [False, True]


def test_a_recovery_that_is_over_too_soon_costs_no_source(cluster: Cluster) -> None:
    receiver = LocalDaemon(str(cluster.directory), node="node-e", root=str(cluster.directory))
    views = (replace(VIEW, stage=Stage.COMPLETE),)
    with serving(Unfolding(views=views, watching=[RESULT]), receiver.client.socket_path):
        assert recover(receiver, []) == (RESULT, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_it_ends_all_daemons_and_removes_everything(
    place: Path, number: signal.Signals
) -> None:
    process = demo(place, "--size", "64MiB")
    eventually(lambda: len(list(place.glob("*/node-?/sock"))) == 4, "four daemons run")
    process.send_signal(number)
    code, _, err = finish(process)
    assert (code, err) == (ExitCode.INTERRUPTED, "ckptctl: interrupted\n")
    assert (os.listdir(place), processes_in(place)) == ([], [])


def test_the_log_of_a_daemon_that_does_not_start_is_shown(place: Path) -> None:
    deep = place / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    code, _, err = finish(demo(deep, "--size", "64MiB"))
    assert code == ExitCode.FAILED
    assert "Last lines of node-a's log:\n  ckptd: " in err
    assert "listen.control" in err
    assert err.splitlines()[-1] == f"ckptctl: daemon node-a: ended with exit code {78}"
    assert (os.listdir(deep), processes_in(place)) == ([], [])


def test_a_directory_that_is_not_there_is_refused(place: Path) -> None:
    code, out, err = finish(demo(place, "/nonexistent"))
    assert (code, out) == (ExitCode.FAILED, "")
    assert err == "ckptctl: directory /nonexistent: does not exist\n"


def test_the_same_seed_writes_the_same_and_no_two_blocks_are_equal(tmp_path: Path) -> None:
    files = [PlannedFile("a", 40 * BLOCK_BYTES_MIN), PlannedFile("b/c", 7 * BLOCK_BYTES_MIN + 1)]
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        write_checkpoint(str(tmp_path / name), files, seed=seed)
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "same")
    assert tree_digest(tmp_path / "one") != tree_digest(tmp_path / "other")
    blocks = set()
    for path in ("one/a", "one/b/c"):
        content = (tmp_path / path).read_bytes()
        blocks |= {
            content[start : start + BLOCK_BYTES_MIN]
            for start in range(0, len(content), BLOCK_BYTES_MIN)
        }
    assert len(blocks) == 48


def test_comparing_finds_every_kind_of_difference(tmp_path: Path) -> None:
    original, copy = make_checkpoint(tmp_path / "one"), make_checkpoint(tmp_path / "two")
    whole = compare(str(original), str(copy))
    assert (whole.files, whole.differences) == (19, ())
    assert whole.size_bytes == sum(path.stat().st_size for path in original.rglob("*.*")) + sum(
        path.stat().st_size for path in original.rglob("*") if path.is_file() and not path.suffix
    )
    with (copy / "model-1.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.truncate(copy / "model-2.safetensors", 5)
    (copy / "run.sh").chmod(0o644)
    (copy / "config.json").chmod(0o700)
    (copy / "empty").unlink()
    (copy / "more").touch()
    size = (original / "model-2.safetensors").stat().st_size
    assert compare(str(original), str(copy)).differences == (
        "config.json is executable",
        "empty is missing",
        "model-1.safetensors has other bytes",
        f"model-2.safetensors has 5 bytes, not {size}",
        "more was not there",
        "run.sh is not executable",
    )


def test_the_root_of_a_directory_with_links_holds_their_targets(tmp_path: Path) -> None:
    directory = tmp_path / "versions/1"
    directory.mkdir(parents=True)
    assert root_of(str(directory)) == str(directory)
    (tmp_path / "blob").touch()
    (directory / "link").symlink_to("../../blob")
    assert root_of(str(directory)) == str(tmp_path)


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(NotFound, match="is a link to nothing"):
        compare(str(tmp_path), str(tmp_path))
