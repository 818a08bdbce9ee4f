"""Plays the launcher of the job: starts its ranks, and starts them again where their shards are.

What a launcher does that knows of ckptd: it waits for what the configuration brings, and where a
rank begins on another node it recovers the rank's shard there, of the newest version that is whole.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.demo.fleet.fleet_nodes import running, save_directory
from ckptd.cli.demo.fleet.samples import JOB, Fleet
from ckptd.cli.demo.fleet.toy_job import MARKER, Saved, ToyJob, begin_with, load, save_name
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.waiting import WaitRequest, WaitResult
from ckptd.errors import CkptdError
from ckptd.model.words import Result

PATIENCE_S: Final = 90.0
"""Nothing here takes so long unless it never comes."""


class Launcher:
    """Has started no rank yet.

    Args:
        fleet: Which nodes there are.
        nodes: Their daemons, in the same order: each rank begins on its own.
        shard_bytes: How much each rank has.
        save_every_s: How often the ranks save.
        patience_s: So long what a node gets may take.
        may_go_on: Whether the ranks may save the next one after a version.
        check: Compares what a rank is to load, by directory, rank and version, with what it saved.

    Attributes:
        homes: On which node each rank runs.
        job: The job as it was started last.
    """

    def __init__(  # noqa: PLR0913 (each named)
        self,
        fleet: Fleet,
        nodes: Sequence[LocalDaemon],
        *,
        shard_bytes: int,
        save_every_s: float,
        patience_s: float,
        may_go_on: Callable[[int], bool],
        check: Callable[[str, int, int], None],
    ) -> None:
        self.homes = dict(enumerate(nodes))
        self._fleet = fleet
        self._nodes = nodes
        self._save_every_s = save_every_s
        self._patience_s = patience_s
        self._may_go_on = may_go_on
        self._check = check
        self._jobs: list[ToyJob] = []
        self._first = {rank: begin_with(shard_bytes) for rank in range(fleet.ranks)}

    @property
    def job(self) -> ToyJob:
        """The job as it was started last."""
        return self._jobs[-1]

    def saved(self) -> list[Saved]:
        """Return all that was saved completely."""
        return [saved for job in self._jobs for saved in tuple(job.saved)]

    def begin(self) -> None:
        """Start all ranks with nothing."""
        self._start(0, self._first)

    def stop(self) -> None:
        """Let all ranks end."""
        for job in self._jobs:
            job.stop()

    def kill_on(self, lost: Sequence[LocalDaemon]) -> list[int]:
        """Let the ranks on some nodes die, and the others stop; return which have died."""
        ranks = [rank for rank, node in self.homes.items() if node in lost]
        self.job.kill(*ranks)
        self.job.stop()
        return ranks

    def wait_for_own(self, node: LocalDaemon) -> tuple[int, str]:
        """Wait as ``ckptctl wait`` does until a node has its shard; return version and directory.

        Raises:
            CkptdError: It does not come.
        """
        client = node.client.until(time.monotonic() + self._patience_s)
        try:
            for event in client.wait(WaitRequest(checkpoint=JOB, through_failures=True)):
                if isinstance(event, WaitResult):
                    if event.is_reached and event.version is not None:
                        return event.version, event.directory
                    raise CkptdError(node.node, f"does not get its shard back: {event.why}")
        except TimeoutError as error:
            raise CkptdError(node.node, "does not get its shard back in time") from error
        raise AssertionError("a wait ends with a result or raises")

    def move(self, ranks: Sequence[int]) -> int:
        """Let ranks begin on nodes that are left, the others where they are; return from what.

        Raises:
            CkptdError: Their shards cannot be recovered, or not of one version.
        """
        for rank, node in zip(ranks, self._shelters(), strict=False):
            self.homes[rank] = node
        results = self._recover(None, ranks)
        versions = sorted({result.version or 0 for result in results})
        if len(versions) != 1:
            raise CkptdError(JOB, f"was recovered in several versions: {versions}")
        found = dict(zip(ranks, (result.target for result in results), strict=True))
        self.go_on(versions[0], found)
        return versions[0]

    def go_on(self, version: int, found: Mapping[int, str]) -> None:
        """Let all ranks go on from a version.

        Args:
            version: Which one.
            found: Where the shards of some of them stand; of the others it is looked for.

        Raises:
            CkptdError: A shard cannot be recovered, or is not what the rank saved.
        """
        directories = dict(found)
        elsewhere = []
        for rank, node in self.homes.items():
            own = os.path.join(save_directory(node, rank), save_name(version))
            if rank not in directories and os.path.exists(os.path.join(own, MARKER)):
                directories[rank] = own
            elif rank not in directories:
                elsewhere.append(rank)
        for rank, result in zip(elsewhere, self._recover(version, elsewhere), strict=True):
            directories[rank] = result.target
        states = {}
        for rank, directory in sorted(directories.items()):
            self._check(directory, rank, version)
            states[rank] = load(directory, rank)
            self._remove_newer(rank, version)
        self._start(version, states)

    def _start(self, version: int, states: Mapping[int, bytes]) -> None:
        homes = {rank: save_directory(node, rank) for rank, node in self.homes.items()}
        self._jobs.append(
            ToyJob(
                version,
                states,
                homes,
                save_every_s=self._save_every_s,
                may_go_on=self._may_go_on,
            )
        )
        self.job.start()

    def _shelters(self) -> list[LocalDaemon]:
        """Return the nodes that are left, those of different zones first."""
        left = running(self._nodes)
        by_zone = [
            [node for node in left if node.node in members]
            for members in self._fleet.zones.values()
        ]
        depth = max(len(nodes) for nodes in by_zone)
        return [nodes[row] for row in range(depth) for nodes in by_zone if row < len(nodes)]

    def _remove_newer(self, rank: int, version: int) -> None:
        """Remove what a rank has saved after the version that it goes on from."""
        directory = save_directory(self.homes[rank], rank)
        for name in os.listdir(directory):
            if int(name.rpartition("_")[2]) > version:
                shutil.rmtree(os.path.join(directory, name))

    def _recover(self, version: int | None, ranks: Sequence[int]) -> list[RecoveryResult]:
        """Recover shards on the nodes on which their ranks run.

        Args:
            version: Which one; ``None``: the newest that is whole.
            ranks: Of which ranks.

        Raises:
            CkptdError: One of them cannot be recovered.
        """
        begun = []
        for rank in ranks:
            node = self.homes[rank]
            request = RecoverRequest(
                checkpoint=JOB,
                version=version,
                shards=f"{rank}/{self._fleet.ranks}",
                to=os.path.join(node.root, "brought", f"rank-{rank}", str(len(self._jobs))),
                patience_s=self._patience_s,
            )
            begun.append((node.client, node.client.recover(request).recovery))
        results = []
        for client, recovery in begun:
            [result] = [
                event for event in client.watch(recovery) if isinstance(event, RecoveryResult)
            ]
            if result.result is not Result.COMPLETE:
                raise CkptdError(result.checkpoint, f"cannot be recovered: {result.message}")
            results.append(result)
        return results
