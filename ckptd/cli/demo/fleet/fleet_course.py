"""``ckptctl demo --fleet``: a job saves, a node is wiped, a zone is lost, and it goes on.

Each rank of the job begins on a node of its own and only writes directories there. What is done
with them, the configuration of the daemons says: they publish what is complete, keep copies in
other zones, and bring back what belongs to a node that comes back empty. The launcher of the job
is played here as well: it starts the ranks where their shards can be had.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ckptd.cli.demo.demo_daemon import LocalDaemon, pause
from ckptd.cli.demo.demo_workspace import blame, say
from ckptd.cli.demo.fleet.expected import Expected
from ckptd.cli.demo.fleet.fleet_nodes import running, start_fleet, wipe
from ckptd.cli.demo.fleet.fleet_report import FleetFindings, Row
from ckptd.cli.demo.fleet.launcher import PATIENCE_S, Launcher
from ckptd.cli.demo.fleet.onlooking import Onlooker
from ckptd.cli.demo.fleet.picture import Moment, picture
from ckptd.cli.demo.fleet.samples import JOB, Fleet, Held, Origin, Sample
from ckptd.cli.demo.fleet.toy_job import (
    SAVE_EVERY_S,
    Saved,
)
from ckptd.cli.pki.authority import Authority
from ckptd.cli.render.live import Show, showing
from ckptd.cli.render.text import Picture
from ckptd.errors import CkptdError

FLEET_COPIES: Final = 24
"""So many saves of all ranks fit: ten that they keep and two versions of copies, what is brought
back, and what is being saved, staged or removed."""
_FRAME_S: Final = 0.2

_T = TypeVar("_T")


def play_fleet(
    fleet: Fleet,
    shard_bytes: int,
    workspace: str,
    *,
    save_every_s: float = SAVE_EVERY_S,
    patience_s: float = PATIENCE_S,
) -> tuple[FleetFindings, str]:
    """Play it, and return what was found out, and the picture as SVG.

    Args:
        fleet: Which nodes there are.
        shard_bytes: How much each rank has.
        workspace: Where all of it is.
        save_every_s: How often the ranks save.
        patience_s: So long anything may take.

    Raises:
        CkptdError: The daemons do not start.
    """
    with contextlib.ExitStack() as processes:
        authority = Authority(os.path.join(workspace, "ca"))
        authority.create()
        nodes = start_fleet(fleet, workspace, processes, authority=authority)
        onlooker = processes.enter_context(Onlooker(nodes))
        course = FleetCourse(
            fleet,
            nodes,
            onlooker,
            processes,
            shard_bytes=shard_bytes,
            save_every_s=save_every_s,
            patience_s=patience_s,
            show=processes.enter_context(showing()),
        )
        try:
            course.play()
        except CkptdError as error:
            course.findings.problem = str(blame(error, nodes)).rstrip(".")
    return course.findings, picture(fleet, onlooker.samples, course.findings.moments)


class FleetCourse:
    """Plays it, step by step. Each step adds to what was found out.

    Args:
        fleet: Which nodes there are.
        nodes: Their daemons, in the same order; ready.
        onlooker: Looks on.
        processes: End what is started.
        shard_bytes: How much each rank has.
        save_every_s: How often the ranks save.
        patience_s: So long anything may take.
        show: Shows how far it is.

    Attributes:
        findings: What was found out so far.
    """

    def __init__(  # noqa: PLR0913 (each named)
        self,
        fleet: Fleet,
        nodes: Sequence[LocalDaemon],
        onlooker: Onlooker,
        processes: contextlib.ExitStack,
        *,
        shard_bytes: int,
        save_every_s: float,
        patience_s: float,
        show: Show,
    ) -> None:
        self.findings = FleetFindings()
        self._fleet = fleet
        self._nodes = nodes
        self._onlooker = onlooker
        self._processes = processes
        self._patience_s = patience_s
        self._show = show
        self._expected = Expected(shard_bytes)
        self._launcher = Launcher(
            fleet,
            nodes,
            shard_bytes=shard_bytes,
            save_every_s=save_every_s,
            patience_s=patience_s,
            may_go_on=lambda version: fleet.is_whole(onlooker.samples[-1], version),
            check=self._check,
        )
        self._stage = "the job begins"

    def play(self) -> None:
        """Play all of it.

        Raises:
            CkptdError: Something did not come, or is not as it should be.
        """
        try:
            self._launcher.begin()
            self._wait_for_copies(0, "the job begins")
            self._wait_for_saves(2)
            self._lose_node(self._nodes[2 % len(self._nodes)])
            self._wait_for_saves(1)
            self._wait_for_copies(
                self._launcher.job.newest_saved() - 1,
                "the job goes on",
                since_s=self._onlooker.elapsed_s(),
            )
            self._lose_zone(list(self._fleet.zones)[-1])
            self._wait_for_saves(1)
            self._launcher.stop()
            self._compare_all()
        finally:
            self._launcher.stop()

    def _lose_node(self, lost: LocalDaemon) -> None:
        """Kill a node, remove all that it had and start it; let the job go on."""
        fleet, rank = self._fleet, self._nodes.index(lost)
        self._stage = f"{lost.node} is wiped"
        lost_s = self._onlooker.elapsed_s()
        lost.kill()
        self._launcher.kill_on([lost])
        say(f"{lost.node} is killed and its disks are emptied; it starts again. Nothing is typed.")
        started_s = self._onlooker.elapsed_s()
        wipe(fleet, lost, self._processes)
        # As the unit of a job waits.
        version, directory = self._launcher.wait_for_own(lost)
        back_s = self._onlooker.elapsed_s()
        self._check(directory, rank, version)
        self._mark(lost_s, f"{lost.node} wiped")
        self._mark(back_s, "shard is back")
        self._note(started_s, f"{lost.node} starts, wiped", "shard is back", back_s)
        self._launcher.go_on(version, {rank: directory})
        goes_on_s = self._onlooker.elapsed_s()
        self._mark(goes_on_s, "job goes on")
        self._note(lost_s, f"{lost.node} is killed", "job goes on", goes_on_s)
        say(f"{lost.node} has shard {rank} of {JOB}@{version} back; all ranks go on from there.")
        self._wait_for_copies(version + 1, f"{lost.node} is killed", since_s=lost_s)

    def _lose_zone(self, zone: str) -> None:
        """Kill the nodes of a zone for good; the ranks that ran there begin elsewhere."""
        lost = [node for node in self._nodes if node.node in self._fleet.zones[zone]]
        self._stage = f"{zone} is lost"
        newest = self._launcher.job.newest_saved()
        lost_s = self._onlooker.elapsed_s()
        for node in lost:
            node.kill()
        ranks = self._launcher.kill_on(lost)
        names = " and ".join(node.node for node in lost)
        say(f"{zone} is lost for good: {names}. {JOB}@{newest} was the last that all have saved.")
        version = self._launcher.move(ranks)
        goes_on_s = self._onlooker.elapsed_s()
        self._mark(lost_s, f"{zone} lost")
        self._mark(goes_on_s, "job goes on")
        self._note(lost_s, f"{zone} is lost", "job goes on", goes_on_s)
        moved = ", ".join(f"rank {rank} on {self._launcher.homes[rank].node}" for rank in ranks)
        say(f"The job goes on from {JOB}@{version}, {moved}.")
        self._wait_for_copies(version, f"{zone} is lost", since_s=lost_s)

    def _wait_for_saves(self, count: int) -> None:
        wanted = self._launcher.job.newest_saved() + count
        self._until(
            lambda _: self._launcher.job.newest_saved() >= wanted or None,
            f"the ranks save {JOB}@{wanted}",
        )

    def _wait_for_copies(self, version: int, what: str, *, since_s: float = 0.0) -> None:
        """Wait until a version, or a newer one, has all of its copies, each in another zone."""
        self._stage = f"copies of {JOB}@{version} or newer"

        def look(sample: Sample) -> int | None:
            copied = self._fleet.newest_copied(sample)
            return copied if copied is not None and copied >= version else None

        copied = self._until(look, f"{JOB}@{version} or newer has its copies")
        seen_s = self._onlooker.samples[-1].at_s
        self._mark(seen_s, "copies whole")
        self._note(since_s, what, f"copies of {JOB}@{copied} whole", seen_s)
        say(f"Every shard of {JOB}@{copied} is with nodes in {self._fleet.copies} zones.")

    def _until(self, look: Callable[[Sample], _T | None], what: str) -> _T:
        """Wait until something is seen in a sample of now.

        Raises:
            CkptdError: It does not come, or a daemon ended by itself.
        """
        began_s, shown_s = self._onlooker.elapsed_s(), 0.0
        while True:
            sample = self._onlooker.samples[-1] if self._onlooker.samples else None
            if sample is not None and sample.at_s >= began_s:
                found = look(sample)
                if found is not None:
                    return found
            running(self._nodes)
            now_s = self._onlooker.elapsed_s()
            if now_s - began_s > self._patience_s:
                raise CkptdError(what, f"did not come true within {self._patience_s:.0f}s")
            if sample is not None and now_s - shown_s >= _FRAME_S:
                shown_s = now_s
                self._show_sample(sample)
            pause()

    def _show_sample(self, sample: Sample) -> None:
        saved = self._launcher.job.newest_saved()
        whole, copied = self._fleet.newest_whole(sample), self._fleet.newest_copied(sample)
        line = (
            f"{sample.at_s:.0f}s: saved {JOB}@{saved}, whole @{whole or '-'}, "
            f"in {self._fleet.copies} zones @{copied or '-'}, {len(sample.nodes)} nodes live"
        )
        self._show(Picture(self._stage, line, (line, self._stage)))

    def _note(self, began_s: float, what: str, outcome: str, ended_s: float) -> None:
        self.findings.rows.append(Row(began_s, what, outcome, ended_s - began_s))

    def _mark(self, at_s: float, words: str) -> None:
        self.findings.moments.append(Moment(at_s, words))

    def _compare(self, node: str, held: Held) -> None:
        """Compare what a node has, unless it went meanwhile, as copies of older versions do.

        Raises:
            CkptdError: It is not what the rank saved.
        """
        try:
            wrong = self._expected.differences(held.directory, [held.shard], held.version)
        except OSError as error:
            wrong = [f"{held.directory}: {error.strerror}"]
        if not wrong:
            self.findings.compared_saves += 1
            self.findings.compared_bytes = self._expected.compared_bytes
        elif held in self._onlooker.look().nodes.get(node, ()):
            self.findings.differences += wrong
            raise CkptdError(f"shard {held.shard} of {JOB}@{held.version}", f"differs at {node}")

    def _check(self, directory: str, rank: int, version: int) -> None:
        """Compare a shard with what its rank must have saved.

        Raises:
            CkptdError: It is not that.
        """
        wrong = self._expected.differences(directory, [rank], version)
        self.findings.compared_saves += 1
        self.findings.compared_bytes = self._expected.compared_bytes
        if wrong:
            self.findings.differences += wrong
            raise CkptdError(f"shard {rank} of {JOB}@{version}", "is not what the rank saved")

    def _compare_all(self) -> None:
        """Compare all that stands anywhere with what the ranks saved, once nothing is saved."""
        ended_s = self._onlooker.elapsed_s()
        self._wait_for_copies(self._launcher.job.newest_saved(), "the job ends", since_s=ended_s)
        say("Comparing what each node has with what the ranks saved, byte by byte.")
        for node, holds in self._onlooker.look().nodes.items():
            for held in holds:
                self._compare(node, held)
        self.findings.on_offer_s = on_offer_s(self._launcher.saved(), self._onlooker.samples)


def on_offer_s(saves: Sequence[Saved], samples: Sequence[Sample]) -> list[float]:
    """Return for each save that was seen on offer how long after its end it was that.

    Args:
        saves: What the ranks saved, also what went before anybody could see it; what was saved
            again under its number stands here again.
        samples: What was seen.
    """
    since_s: defaultdict[tuple[int, int], set[float]] = defaultdict(set)
    for sample in samples:
        for holds in sample.nodes.values():
            for held in holds:
                if held.origin is Origin.SAVED:
                    since_s[held.shard, held.version].add(held.added_at_s)
    found, until_s = [], dict[tuple[int, int], float]()
    for saved in sorted(saves, key=lambda saved: saved.at_s, reverse=True):
        key = saved.rank, saved.version
        end_s = until_s.get(key, math.inf)
        until_s[key] = saved.at_s
        later = [at_s - saved.at_s for at_s in since_s[key] if saved.at_s <= at_s < end_s]
        found += [min(later)] if later else []
    return found
