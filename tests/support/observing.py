"""What a stand-in daemon says of itself, and who reads what real ones say."""

from collections.abc import AsyncGenerator

from ckptd.control.messages.observation import (
    CheckRow,
    Diagnosis,
    DoctorMessage,
    EventMessage,
    EventRecord,
    FollowQuery,
    HealthView,
    Idle,
    LevelRequest,
    LevelView,
    LineMessage,
    LineRecord,
    Lost,
)
from ckptd.model.words import CheckResult

READY = HealthView(
    is_ready=True, obstacle="", components={"peers": "no peer answers", "root a": ""}
)
DRAINING = HealthView(is_ready=False, obstacle="stopping", components={})
EVENT = EventRecord(
    id=7,
    at_s=1_700_000_000.0,
    level="info",
    event="peer.found",
    facts={"node": "node-b", "why": None},
)
LINE = LineRecord(id=3, at_s=1_700_000_000.0, level="info", text="level=info event=peer.found")
FINDING = CheckRow(
    check="disk",
    subject="root main",
    verdict=CheckResult.FAIL,
    finding="it cannot be written",
    remedy="Mend it.",
)


class StandInObserving:
    """Answers what it was told to.

    Attributes:
        answer: Of the health check.
        findings: Of an examination.
    """

    def __init__(self, answer: HealthView = READY, findings: tuple[CheckRow, ...] = ()) -> None:
        self.answer = answer
        self.findings = findings
        self.level = LevelView(level="info", configured="info")

    def health(self) -> HealthView:
        return self.answer

    def log_level(self) -> LevelView:
        return self.level

    def set_log_level(self, request: LevelRequest) -> LevelView:
        self.level = LevelView(level=request.level, configured="info", left_s=request.for_s)
        return self.level

    async def events(self, query: FollowQuery) -> AsyncGenerator[EventMessage, None]:
        if query.since < 6:
            yield Lost(count=6 - query.since)
        if query.since < 7:
            yield EVENT
        yield Idle(last_id=7)

    async def lines(self, _query: FollowQuery) -> AsyncGenerator[LineMessage, None]:
        yield LINE
        yield Idle(last_id=3)

    async def examine(self) -> AsyncGenerator[DoctorMessage, None]:
        for finding in self.findings:
            yield finding
        fail = sum(finding.verdict is CheckResult.FAIL for finding in self.findings)
        yield Diagnosis(ok=len(self.findings) - fail, warn=0, fail=fail)
