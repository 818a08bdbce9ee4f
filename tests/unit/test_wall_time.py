"""Intervals are measured by a clock that never jumps; who reads wall time stands here, and why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.unit.test_confinement import full_name, imports

PACKAGE = Path(__file__).parents[2] / "ckptd"

WALL_CALLS = {
    *(f"time.{name}" for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")),
    *("time.mktime", "time.asctime", "time.clock_gettime", "time.clock_gettime_ns"),
    *("datetime.datetime", "datetime.date", "calendar.timegm"),
    *("email.utils.parsedate_to_datetime", "email.utils.formatdate", "email.utils.format_datetime"),
}
WALL_CLOCKS = {"wall_clock", "_wall_clock"}

ALLOWED = {
    # Dates that people read, and that outlive the daemon.
    "daemon/app.py": "hands the clock out; when the daemon was started",
    "daemon/parts.py": "hands it on",
    "daemon/recover/recovering.py": "hands it on",
    "daemon/keep/keeping.py": "hands it on",
    "daemon/answer/recovery_answers.py": "when a recovery was asked for, when a story was taken",
    "daemon/answer/recover_requests.py": "when a recovery was asked for",
    "daemon/answer/verify_answers.py": "when a place was checked",
    "daemon/answer/peer_answers.py": "when a quarantine ends, when a bad block came",
    "daemon/keep/scrubbing.py": "when a place was checked",
    "daemon/measure/measuring.py": "when a peer was last found: a metric that is a date",
    "daemon/measure/works.py": "when work last went well: likewise",
    "daemon/recover/recoveries.py": "when a story was taken",
    "daemon/recover/activating.py": "when a version became active",
    "daemon/recover/repairing.py": "when a recovery was asked for",
    "daemon/recover/following_up.py": "likewise, of the one that follows",
    "daemon/recover/staging_orders.py": "when a partial version was placed",
    "daemon/settings/reloading.py": "when the configuration was read: a metric that is a date",
    "observe/logs.py": "when a line was written",
    "net/source/server.py": "the Date of an answer",
    "store/published/catalog.py": "when a place was recorded and checked",
    "store/trees/partial_marker.py": "writes a date down",
    "cli/ctl/observe_verbs.py": "writes a date down",
    "cli/render/plan_text.py": "writes a date down",
    "cli/render/recoveries_text.py": "writes a date down",
    # Dates of earlier lives become moments of this one, once.
    "daemon/audit/auditing.py": "hands it on",
    "daemon/audit/proofs.py": "audits",
    "daemon/keep/place_moments.py": "places",
    "daemon/measure/freshness.py": "versions",
    "daemon/measure/rate_memory.py": "rates",
    # What is bound to wall time by its nature.
    "cli/pki/authority.py": "certificates",
    "cli/ctl/tls_verbs.py": "certificates",
    "net/connection/identity.py": "certificates",
    "store/records/placed_jobs.py": "when a version of a job was placed",
    "daemon/settings/own_identity.py": "certificates",
    "daemon/doctor/findings.py": "certificates",
    "daemon/doctor/clocks.py": "looks at the clocks themselves",
    "daemon/limit/limiting.py": "limits by the time of day",
    "store/files/mounts.py": "compares the date at which a directory was made",
    # Times of files are the kernel's wall time; what looks young is only waited for, a little.
    "store/trees/standing_files.py": "compares with them",
    "store/published/publishing.py": "compares with them",
    "store/published/hash_runs.py": "compares with them",
    "store/published/newcomers.py": "compares with them",
    "daemon/measure/workloads.py": "compares with them",
    "daemon/answer/workload_answers.py": "how long ago that was",
}

MODULES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


def wall_times(source: str) -> set[str]:
    """Return everything in a module by which it can learn wall time."""
    tree = ast.parse(source)
    bound = dict(imports(tree))
    found = {name for name in bound.values() if name in WALL_CALLS}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() if (full := full_name(node, bound)) in WALL_CALLS:
                found.add(full)
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.arg(arg=name) if (
                name in WALL_CLOCKS
            ):
                found.add(name)
            case _:
                pass
    return found


@pytest.mark.parametrize("module", MODULES)
def test_nothing_else_knows_the_wall_time(module: str) -> None:
    found = wall_times((PACKAGE / module).read_text())
    assert not found or module in ALLOWED, "measure by time.monotonic; wall time is for dates"


def test_no_permission_to_read_it_outlives_its_need() -> None:
    idle = [each for each in ALLOWED if not wall_times((PACKAGE / each).read_text())]
    assert idle == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\nnow = time.time()",
        "import time\nclock = time.time_ns",
        "from time import time",
        "import time as clocks\nclocks.gmtime()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now()",
        "import time\ntime.clock_gettime(time.CLOCK_REALTIME)",
        "def f(wall_clock):\n    pass",
        "age = now - self._wall_clock()",
    ],
)
def test_every_way_to_wall_time_is_seen(source: str) -> None:
    assert wall_times(source)


@pytest.mark.parametrize(
    "source", ["import time\ntime.monotonic()", "from datetime import timedelta", "time = 3"]
)
def test_a_clock_that_never_jumps_is_anybodys(source: str) -> None:
    assert not wall_times(source)
