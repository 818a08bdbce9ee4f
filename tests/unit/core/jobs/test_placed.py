"""Which versions nodes say that they placed."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.events import HoldingsArrived, PeerLost
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, NodeId, PathId, Version
from tests.support.jobs import JOB, JobScript
from tests.support.scheduling import A, B

EVAL = CheckpointName("eval")


def placed(said: HoldingsArrived, *versions: tuple[CheckpointName, int]) -> HoldingsArrived:
    return replace(said, placed=tuple((job, Version(version)) for job, version in versions))


def by_job(script: JobScript) -> dict[CheckpointName, dict[NodeId, Version]]:
    return script.scheduler.placed(now=script.now)


def test_what_live_peers_placed_last_is_known_by_job() -> None:
    script = JobScript()
    script.tell(placed(script.have(A), (JOB, 100)), placed(script.have(B), (JOB, 200), (EVAL, 1)))
    assert by_job(script) == {JOB: {A: 100, B: 200}, EVAL: {B: 1}}
    script.tell(placed(script.have(B), (JOB, 100)))
    assert by_job(script) == {JOB: {A: 100, B: 100}}
    script.tell(PeerLost(PathId(B)))
    assert by_job(script) == {JOB: {A: 100}}


def test_who_is_in_quarantine_placed_nothing() -> None:
    script = JobScript()
    script.tell(placed(script.have(A), (JOB, 100)))
    (peer,) = script.scheduler.inspect().peers.values()
    peer.standing.quarantined_until_ns = script.now + SECOND
    assert by_job(script) == {}


def test_what_others_placed_decides_nothing() -> None:
    script = JobScript()
    script.tell(placed(script.have(A), (JOB, 100)))
    before = script.scheduler.inspect().job_claims.revision
    script.tell(placed(script.have(A), (JOB, 200)))
    assert script.scheduler.inspect().job_claims.revision == before
