"""A daemon takes over the state directory of an older one that was killed half-way."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.limits import KIB
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState, Result, Stage
from tests.support.cluster import Cluster, Node, eventually, tree_digest
from tests.support.making_old_state import LARGE
from tests.support.old_states import (
    EXPECTED,
    EXPECTED_0D100DF,
    STOOD_IN_0D100DF,
    state_of_0d100df,
    state_of_96a4e59,
)
from tests.support.stagings import content_of
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

WAITING, PAUSED, RUNNING = EXPECTED["unfinished"]
CONTENTS = {
    "config.json": b'{"layers": 2}\n',
    "empty": b"",
    "weights.bin": content_of(2600 * KIB, seed=3),
    "optimizer/state.bin": content_of(300 * KIB, seed=4),
}
"""What the older daemon was recovering."""


def stage_what_was_journaled(
    node: Node, contents: Mapping[str, bytes], recovery: str, *runs: tuple[int, int]
) -> int:
    """Write the staging directory that belongs to the database; return the bytes it has."""
    with closing(sqlite3.connect(Path(node.state_dir, "ckptd.db"))) as database:
        (encoded,) = database.execute(
            "SELECT manifest FROM recoveries WHERE recovery = ?", (recovery,)
        ).fetchone()
    space = AddressSpace(decode_manifest(encoded))
    staged = {unit.path: bytearray(unit.size_bytes) for unit in space.manifest.units}
    for run in runs:
        for place in space.places(run):
            path = space.manifest.units[place.unit].path
            part = slice(place.offset, place.offset + place.size_bytes)
            staged[path][part] = contents[path][part]
    write_files(node.path(".ckptd", recovery), {k: bytes(v) for k, v in staged.items()})
    return sum(map(space.run_bytes, runs))


def test_recoveries_of_the_last_version_go_on_and_ended_ones_are_shown(cluster: Cluster) -> None:
    source = cluster.node("source")
    write_files(source.path("200"), CONTENTS)
    assert source.publish(source.path("200"), "llama/rank-3", 200).digest == RUNNING["digest"]

    receiver = cluster.prepare("receiver", peers=[source.address])
    state_of_96a4e59(Path(receiver.state_dir))
    runs = [(start, end) for start, end in RUNNING["blocks"]]
    staged_bytes = stage_what_was_journaled(receiver, CONTENTS, RUNNING["recovery"], *runs)
    receiver.start()
    receiver.wait_ready()

    result = receiver.result(RUNNING["recovery"])
    assert (result.result, result.message) == (Result.COMPLETE, "")
    assert result.bytes_resumed == staged_bytes
    assert result.bytes_received - result.bytes_wasted == result.bytes_total - staged_bytes
    assert result.target == str(receiver.path("llama/rank-3/200"))
    assert tree_digest(result.target) == tree_digest(source.path("200"))

    shown = {view.recovery: view for view in receiver.client.recoveries()}
    waiting, paused = shown[WAITING["recovery"]], shown[PAUSED["recovery"]]
    assert waiting.target == str(receiver.path("elsewhere/3"))
    assert (waiting.stage, waiting.is_paused) == (Stage.SEEKING, False)
    assert (paused.version, paused.is_paused, paused.is_background) == (5, True, True)
    assert paused.digest == PAUSED["digest"]
    for report in EXPECTED["reports"]:
        view = shown[report["recovery"]]
        assert (view.stage, view.target) == (Stage(report["result"]), report["target"])
        assert (view.bytes_total, view.elapsed_s) == (report["bytes_total"], report["duration_s"])

    receiver.restart()
    assert receiver.result(RUNNING["recovery"]) == result
    for report in EXPECTED["reports"]:
        # What watching answers is what the older daemon would have answered.
        placed = report["bytes_total"] if report["result"] == Result.COMPLETE else 0
        critical = {"critical_after_s": report["time_to_critical_s"]}  # goes by two names since
        now_said = {**report, "bytes_placed": placed, **critical}
        expected = msgspec.convert(now_said, RecoveryResult)
        assert receiver.result(report["recovery"]) == expected


def test_versions_that_stood_in_one_directory_each_stay_on_offer(cluster: Cluster) -> None:
    source = cluster.node("source")
    write_files(source.path("200"), LARGE)
    source.publish(source.path("200"), "llama/rank-3", 200, deferred=())
    holder = cluster.prepare("holder", peers=[source.address])
    state_of_0d100df(Path(holder.state_dir))
    for directory, contents in STOOD_IN_0D100DF.items():
        write_files(holder.path(directory), contents)
    (recovery,) = {recovery for recovery, _, _ in EXPECTED_0D100DF["verified"]}
    runs = [(start, end) for _, start, end in EXPECTED_0D100DF["verified"]]
    staged_bytes = stage_what_was_journaled(holder, LARGE, recovery, *runs)
    holder.start()
    holder.wait_ready()

    result = holder.result(recovery)
    assert (result.result, result.bytes_resumed) == (Result.COMPLETE, staged_bytes)
    assert tree_digest(result.target) == tree_digest(source.path("200"))
    # Other files were put there than the older daemon knew, so all were suspect at first.
    known = {str(holder.path(name)): PlaceState.HERE for name in STOOD_IN_0D100DF}
    known[str(holder.path("llama/rank-3/150"))] = PlaceState.PARTIAL
    known[result.target] = PlaceState.HERE

    def states() -> dict[str, PlaceState]:
        rows = holder.client.checkpoints()
        return {place.directory: place.state for row in rows for place in row.places}

    eventually(lambda: states() == known, "everything is on offer")
    taker = cluster.node("taker", peers=[holder.address])
    taken = taker.recover("local/eval", 9)
    assert tree_digest(taken.target) == tree_digest(holder.path("eval/9"))
