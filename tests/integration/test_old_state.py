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
from ckptd.model.manifest import decode_manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import Result, Stage
from tests.support.cluster import Cluster, Node, tree_digest
from tests.support.old_states import EXPECTED, state_of_96a4e59
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


def stage_what_was_journaled(node: Node, contents: Mapping[str, bytes]) -> int:
    """Write the staging directory that belongs to the database; return the bytes it has."""
    with closing(sqlite3.connect(Path(node.state_dir, "ckptd.db"))) as database:
        (encoded,) = database.execute(
            "SELECT manifest FROM recoveries WHERE recovery = ?", (RUNNING["recovery"],)
        ).fetchone()
    space = AddressSpace(decode_manifest(encoded))
    ((start, end),) = RUNNING["blocks"]
    staged = {unit.path: bytearray(unit.size_bytes) for unit in space.manifest.units}
    for place in space.places((start, end)):
        path = space.manifest.units[place.unit].path
        part = slice(place.offset, place.offset + place.size_bytes)
        staged[path][part] = contents[path][part]
    write_files(node.path(".ckptd", RUNNING["recovery"]), {k: bytes(v) for k, v in staged.items()})
    return space.block_start(end) - space.block_start(start)


def test_recoveries_of_the_last_version_go_on_and_ended_ones_are_shown(cluster: Cluster) -> None:
    source = cluster.node("source")
    write_files(source.path("200"), CONTENTS)
    assert source.publish(source.path("200"), "llama/rank-3", 200).digest == RUNNING["digest"]

    receiver = cluster.prepare("receiver", peers=[source.address])
    state_of_96a4e59(Path(receiver.state_dir))
    staged_bytes = stage_what_was_journaled(receiver, CONTENTS)
    receiver.start()
    receiver.wait_ready()

    result = receiver.result(RUNNING["recovery"])
    assert (result.result, result.message) == (Result.COMPLETE, "")
    assert result.bytes_resumed == staged_bytes
    assert result.bytes_received == result.bytes_total - staged_bytes
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
        assert receiver.result(report["recovery"]) == msgspec.convert(report, RecoveryResult)
