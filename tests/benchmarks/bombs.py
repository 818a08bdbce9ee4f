"""What a manifest costs a receiver, whatever its bytes are: make bench-bombs.

A peer claims a version, and delivers bytes that have the digest which it named: 64 MiB of deep
paths, of annotations, of what jobs publish. A real daemon recovers from it, one that was just
started for each kind. The manifest turns out to be of another version, so nothing follows it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.ids import Digest
from ckptd.store.files.hashing import hexdigest_of
from tests.benchmarks.daemons import Cost
from tests.benchmarks.processes import peak_bytes, reset_peak
from tests.support.bombs import BOMBS, CHECKPOINT
from tests.support.hostile_peers import HostilePeer, Reply, hostile_peer

PEAK_MAX_BYTES = 128 * MIB
LAG_MAX_S = 0.05
OTHER_VERSION = 2
REST_S = 1.0
"""After that a daemon that was started is at rest."""


class Outcome(NamedTuple):
    """What one manifest has cost."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    lag_s: float
    message: str


def claims(digest: Digest) -> Reply:
    """Say that a version is here that the manifests of :data:`BOMBS` are not of."""
    holding = {
        "checkpoint": CHECKPOINT,
        "version": OTHER_VERSION,
        "digest": digest,
        "size_bytes": 1,
        "block_count": 1,
        "blocks": "all",
    }
    document = {"node": "evil", "epoch": 1, "revision": 1, "holdings": [holding]}
    return Reply(msgspec.json.encode(document), fields={"ETag": '"1-1"'})


def explode(directory: Path, manifest: bytes) -> Outcome:
    """Let a daemon recover from a peer with this manifest."""
    digest = hexdigest_of(manifest)
    replies = {"/v1/holdings": claims(digest), f"/v1/manifests/{digest}": Reply(manifest)}
    with hostile_peer(replies) as peer:
        return _recover(directory, peer)


def _recover(directory: Path, peer: HostilePeer) -> Outcome:
    root = directory / "root"
    root.mkdir(parents=True)
    daemon = LocalDaemon(
        str(directory),
        node="receiver",
        root=str(root),
        peers=[peer.address],
        buffers="32MiB",
        metrics="127.0.0.1:0",
    )
    daemon.start()
    try:
        daemon.wait_ready()
        time.sleep(REST_S)
        reset_peak(daemon.pid)
        rest_bytes, before = peak_bytes(daemon.pid), Cost.of(daemon)
        start_s = time.perf_counter()
        view = daemon.client.recover(RecoverRequest(checkpoint=CHECKPOINT, patience_s=0))
        *_, result = daemon.client.watch(view.recovery)
        seconds = time.perf_counter() - start_s
        assert isinstance(result, RecoveryResult), result
        cost = Cost.of(daemon).since(before)
        return Outcome(
            seconds,
            cost.cpu_s,
            cost.peak_bytes - rest_bytes,
            cost.lags.quantile(1.0),
            result.message,
        )
    finally:
        daemon.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(BOMBS), metavar="KIND")
    chosen = parser.parse_args()
    print(f"{'64 MiB of':28}{'s':>7}{'CPU s':>8}{'MiB above rest':>16}{'lag ms <=':>11}")
    is_met = True
    for kind in chosen.kinds:
        make: Callable[[int], bytes] = BOMBS[kind]
        with tempfile.TemporaryDirectory() as directory:
            outcome = explode(Path(directory) / "receiver", make(MANIFEST_BYTES_MAX))
        is_met &= outcome.peak_bytes <= PEAK_MAX_BYTES and outcome.lag_s <= LAG_MAX_S
        print(
            f"{kind:28}{outcome.seconds:7.1f}{outcome.cpu_s:8.1f}{outcome.peak_bytes / MIB:16.0f}"
            f"{outcome.lag_s * 1000:11.0f}   {outcome.message[:70]}",
            flush=True,
        )
    print(f"to reach: {PEAK_MAX_BYTES // MIB} MiB, {LAG_MAX_S * 1000:.0f} ms")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
