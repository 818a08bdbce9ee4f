"""Makes the database that a killed daemon leaves, for tests of its successors.

Run it with the code of the commit whose state is wanted, from the project's root, before the
schema changes; what it writes is checked in and stays as it is::

    python -m tests.support.making_old_state tests/unit/store/records/states
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from ckptd.limits import KIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, eventually
from tests.support.stagings import content_of
from tests.support.stores import write_files

SMALL: Final = {"config.json": b'{"layers": 2}\n', "weights.bin": content_of(300 * KIB, seed=1)}
"""What was recovered as a whole."""

CUT: Final = {"config.json": b'{"layers": 3}\n', "weights.bin": content_of(1200 * KIB, seed=2)}
"""What was recovered in part: its source died."""

LARGE: Final = {
    "config.json": b'{"layers": 4}\n',
    "empty": b"",
    "weights.bin": content_of(2600 * KIB, seed=3),
    "optimizer/state.bin": content_of(300 * KIB, seed=4),
}
"""What was being recovered when the daemon was killed."""

EVAL: Final = {"a.json": b"{}", "data": content_of(2000, seed=5)}
"""What the daemon had published itself."""

_SLOW: Final = '[limits]\negress = "400KiB/s"\n'


def _make(cluster: Cluster) -> Path:
    """Run daemons, kill one, and return the path of its database."""
    fast = cluster.node("fast")
    slow, dying = (cluster.node(name, sections=_SLOW) for name in ("slow", "dying"))
    for node, name, contents in ((fast, 100, SMALL), (dying, 150, CUT), (slow, 200, LARGE)):
        write_files(node.path(str(name)), contents)
        node.publish(node.path(str(name)), "llama/rank-3", name, deferred=())
    receiver = cluster.node("receiver", peers=[node.address for node in (fast, slow, dying)])
    for version in (7, 9):
        write_files(receiver.path(f"eval/{version}"), {**EVAL, "version": b"%d" % version})
        receiver.publish(
            receiver.path(f"eval/{version}"), "local/eval", version, critical=(), deferred=()
        )
    assert receiver.recover("llama/rank-3", 100).result is Result.COMPLETE
    write_files(receiver.path("taken"), {"somebody's": b"file"})
    failed = receiver.recover("llama/rank-3", 100, to=receiver.path("taken"))
    assert failed.result is Result.FAILED
    receiver.client.cancel(receiver.begin("qwen/rank-0", 6))
    _recover_in_part(receiver, dying)
    receiver.begin("qwen/rank-7", 3, to=receiver.path("elsewhere/3"), patience_s=3600)
    receiver.client.pause(receiver.begin("qwen/rank-0", 5, is_background=True))
    receiver.wait_bytes(receiver.begin("llama/rank-3", 200), 1100 * KIB)
    database = Path(receiver.state_dir, "ckptd.db")
    eventually(lambda: _rows(database, "SELECT * FROM verified"), "some blocks are journaled")
    receiver.kill()
    return database


def _recover_in_part(receiver: Node, source: Node) -> None:
    recovery = receiver.begin("llama/rank-3", 150, patience_s=1)
    receiver.wait_view(
        recovery, lambda view: 0 < view.bytes_verified < view.bytes_total, "some of it is here"
    )
    source.kill()
    ended = receiver.result(recovery)
    assert ended.is_degraded, ended


def _rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def _expected(database: Path) -> dict[str, Any]:
    """Read what a successor must find, with nothing of ckptd."""
    return {
        "versions": _rows(
            database,
            "SELECT checkpoint, version, digest, root, directory, is_published, size_bytes,"
            " block_count, hex(files) FROM versions ORDER BY checkpoint, version",
        ),
        "newest": dict(_rows(database, "SELECT * FROM newest")),
        "unfinished": _rows(
            database,
            "SELECT recovery, checkpoint, version, digest, root, target, patience_ns, is_paused,"
            " started_at_s, is_background, length(manifest) FROM recoveries ORDER BY rowid",
        ),
        "verified": _rows(database, "SELECT recovery, start, end FROM verified ORDER BY rowid"),
        "ended": [
            json.loads(record)
            for (record,) in _rows(database, "SELECT record FROM ended ORDER BY number")
        ],
    }


def main(directory: str) -> None:
    """Make the database and what is to be found in it."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as temporary, Cluster(Path(temporary)) as cluster:
        left = _make(cluster)
        made = Path(directory, f"{commit}.db")
        # A copy by SQLite has what the write-ahead log has.
        with closing(sqlite3.connect(left)) as old, closing(sqlite3.connect(made)) as new:
            old.backup(new)
            new.execute(
                "UPDATE ended SET record ="
                " CAST(replace(CAST(record AS TEXT), ?, '/srv/example') AS BLOB)",
                (temporary,),
            )
            new.commit()
            new.execute("PRAGMA journal_mode = DELETE")
            new.execute("VACUUM")
        text = json.dumps(_expected(made), indent=1, sort_keys=True)
        Path(directory, f"{commit}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
