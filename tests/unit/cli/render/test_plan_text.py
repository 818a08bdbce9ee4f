import msgspec
import pytest

from ckptd.cli.render.plan_text import peer_view_lines, plan_lines
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.control.messages.plans import ClassBytes, HereRow, PassedOverRow, Plan, ReusedRow
from ckptd.control.messages.rivals import RivalRow
from ckptd.limits import DAY_S, GIB
from ckptd.model.quantities import format_size
from ckptd.model.words import RateOrigin
from tests.support.control_samples import PEER_VIEW, PLAN

replace = msgspec.structs.replace


def test_a_plan_says_what_a_recovery_would_do() -> None:
    assert plan_lines(PLAN) == [
        "version   llama/rank-0@100: newest of which every block is reachable",
        "amount    2 GiB in 120 units: 512 MiB critical, 1 GiB normal, 512 MiB deferred",
        "missing   nothing",
        "here      nothing",
        "target    /data/llama/rank-0/100",
        "room      2 GiB needed, 3 GiB free",
        "critical  in 0.6s",
        "complete  in 2.3s",
        "          not counting node-c, whose rates are not known yet",
        "SOURCE  STATE  HOLDS        RATE           LATENCY",
        "node-b  idle   all, 2 GiB   900 MiB/s      2.1ms",
        "node-c  idle   part, 1 GiB  not known yet  not known yet",
    ]


def test_where_peers_are_audited_a_plan_says_when_they_showed_what_they_have() -> None:
    shown, other = PLAN.sources
    lines = plan_lines(replace(PLAN, sources=(replace(shown, proven_at_s=1.6e9), other)))
    assert lines[-3:] == [
        "SOURCE  STATE  HOLDS        RATE           LATENCY        PROVEN",
        "node-b  idle   all, 2 GiB   900 MiB/s      2.1ms          2020-09-13 12:26:40Z",
        "node-c  idle   part, 1 GiB  not known yet  not known yet  no",
    ]


def test_a_plan_says_from_whom_it_counts_on_coded_blocks() -> None:
    how = "coded as last time, 4.0 times as fast, 16.0 times shorter"
    coded, other = (replace(source, coding=how) for source in PLAN.sources)
    lines = plan_lines(replace(PLAN, sources=(coded, other, other, other)))
    text = " ".join(" ".join(lines).split())
    assert f"counting on node-b: {how} counting on node-c: {how} counting on 2 more" in text


def test_a_plan_for_a_job_says_which_shards_and_what_newer_versions_lack() -> None:
    over = PassedOverRow(version=120, digest="", why="shard 3/8 is missing: nobody has it")
    lines = plan_lines(replace(PLAN, digest=None, shards="2-3/8", passed_over=(over,)))
    assert lines[1:3] == [
        "passed over  120: shard 3/8 is missing: nobody has it",
        "shards       2-3/8",
    ]


def test_a_rate_that_is_not_from_just_now_has_its_age_and_who_measured_it() -> None:
    near, far = PLAN.sources
    sources = (
        replace(near, rate_age_s=59.9, rate_from=RateOrigin.RECOVERY),
        replace(near, rate_age_s=60.0, rate_from=RateOrigin.RECOVERY),
        replace(far, rate_bytes_per_s=GIB, rate_age_s=3.5 * 3600, rate_from=RateOrigin.DOCTOR),
    )
    lines = plan_lines(replace(PLAN, sources=sources))
    assert lines[-3:] == [
        "node-b  idle   all, 2 GiB   900 MiB/s                  2.1ms",
        "node-b  idle   all, 2 GiB   900 MiB/s, 1m ago          2.1ms",
        "node-c  idle   part, 1 GiB  1 GiB/s, 3h ago by doctor  not known yet",
    ]
    peer = replace(PEER_VIEW, rate_age_s=2 * DAY_S, rate_from=RateOrigin.RECOVERY)
    assert "rate        900 MiB/s, 2d ago" in peer_view_lines(peer)


def test_a_plan_for_what_is_here_is_that_there_is_nothing_to_do() -> None:
    assert plan_lines(replace(PLAN, is_here=True)) == [
        "version  llama/rank-0@100: newest of which every block is reachable",
        "amount   2 GiB in 120 units: 512 MiB critical, 1 GiB normal, 512 MiB deferred",
        "here     already here, nothing to do: /data/llama/rank-0/100",
    ]


def test_a_plan_says_what_is_not_fetched() -> None:
    row = HereRow(directory="/data/old", bytes=GIB, is_complete=False, is_stale=False)
    lines = plan_lines(replace(PLAN, here=row, bytes_local=GIB, needed_bytes=GIB))
    assert "here      1 GiB, in /data/old; 1 GiB are not fetched" in lines


def test_a_plan_says_that_the_version_is_too_long() -> None:
    lines = plan_lines(replace(PLAN, size_problem="has 2 GiB, more than recovery.version_max"))
    assert lines[2].strip() == ("it would be refused: it has 2 GiB, more than recovery.version_max")


def test_a_plan_says_what_speaks_against_it() -> None:
    bad = replace(
        PLAN,
        is_settled=False,
        passed_over=(PassedOverRow(version=110, digest="cd" * 32, why="nobody has 37 % of it"),),
        missing_blocks=3,
        missing_critical_blocks=1,
        missing_units=("config.json", "opt/\x1b[2J"),
        here=HereRow(directory="/data/old", bytes=GIB, is_complete=False, is_stale=False),
        is_target_taken=True,
        free_bytes=GIB,
        predicted_complete_s=None,
        prediction_remark="nobody who is trusted has all of it",
    )
    text = "\n".join(plan_lines(bad))
    for claim in (
        "             not every peer has answered yet\n",
        "passed over  110 (cdcdcdcdcdcd): nobody has 37 % of it\n",
        "missing      nobody has all of config.json, opt/\\x1b[2J; critical units are",
        "here         1 GiB, in /data/old\n",
        "target       /data/llama/rank-0/100, where something else is\n",
        "room         2 GiB needed, 1 GiB free: too little\n",
        "complete     cannot be predicted\n",
    ):
        assert claim in text


def test_a_plan_without_room_says_what_retention_would_free() -> None:
    bad = replace(PLAN, free_bytes=GIB, could_free="Retention frees up to 3 GiB by itself.")
    lines = " ".join(" ".join(plan_lines(bad)).split())
    assert "1 GiB free: too little. Retention frees up to 3 GiB by itself." in lines


def test_a_plan_without_a_manifest_says_why() -> None:
    poor = replace(PLAN, units=None, bytes_by_class=None, manifest_problem="no holder answers")
    assert "amount    2 GiB; no manifest: no holder answers" in plan_lines(poor)


def test_a_plan_says_that_nothing_is_critical() -> None:
    classes = ClassBytes(critical=0, normal=GIB, deferred=GIB)
    calm = replace(PLAN, bytes_by_class=classes, predicted_critical_s=None)
    assert "critical  no unit is" in plan_lines(calm)


def test_without_a_version_a_plan_says_why_there_is_none() -> None:
    none = Plan(
        checkpoint="a", version=None, why="nobody has version 7", passed_over=(), is_settled=True
    )
    assert plan_lines(none) == ["version  a: nobody has version 7"]


def test_what_a_job_lacks_is_said_once() -> None:
    over = PassedOverRow(version=120, digest="", why="shard 3/8 is missing: nobody has it")
    older = PassedOverRow(version=100, digest="", why="shard 1/8 is missing: nobody has it")
    why = f"120 in 8 shards lacks one: {over.why}"
    plan = replace(PLAN, version=None, why=why, passed_over=(over, older))
    assert plan_lines(plan) == [
        "version      llama/rank-0: 120 in 8 shards lacks one: shard 3/8 is missing:",
        "             nobody has it",
        "passed over  100: shard 1/8 is missing: nobody has it",
    ]


def test_a_peer_shows_what_it_did() -> None:
    assert peer_view_lines(PEER_VIEW) == [
        "node        node-b, epoch 7",
        "address     10.0.0.2:7421",
        "state       distrusted",
        "versions    3, 2 of them complete",
        "rate        900 MiB/s",
        "latency     2.1ms",
        "trust       none yet (0 of 8)",
        "quarantine  once, until 2023-11-14 22:14:20Z",
        "bad blocks  51",
        "PATH                      ADDRESS        STATE       RATE           LATENCY",
        "node-b                    10.0.0.2:7421  distrusted  900 MiB/s      2.1ms",
        "node-b via 10.0.1.2:7421  -              lost        not known yet  not known yet",
        "the last 1:",
        "WHEN                  VERSION           UNIT               BLOCK  RECOVERY  ANSWER",
        "2023-11-14 22:13:20Z  llama/rank-0@100  model.safetensors  3      01J9QX    stands by it",
    ]


def test_the_path_to_a_peer_is_not_shown_again_if_it_is_the_only_one() -> None:
    alone = replace(PEER_VIEW, paths=PEER_VIEW.paths[:1])
    assert not [line for line in peer_view_lines(alone) if line.startswith("PATH")]


def test_what_peers_say_moves_no_cursor() -> None:
    (bad,) = PEER_VIEW.evidence
    evil = replace(PEER_VIEW, node="\x1b[2J", evidence=(replace(bad, unit="a\nb"),))
    evil = replace(evil, paths=tuple(replace(row, path="\x1b[2J") for row in PEER_VIEW.paths))
    assert all(line.isprintable() for line in peer_view_lines(evil))
    sources = tuple(replace(source, path="\x1b[2J") for source in PLAN.sources)
    assert all(line.isprintable() for line in plan_lines(replace(PLAN, sources=sources)))


def test_contents_that_somebody_has_to_choose_from_are_listed() -> None:
    rivals = (
        RivalRow(digest="0a" * 32, size_bytes=GIB, nodes=("n-1", "n-2"), signers=("c0ffee",)),
        RivalRow(digest="0b" * 32, size_bytes=3, nodes=(), is_own=True),
    )
    lines = plan_lines(replace(PLAN, rivals=rivals))
    assert [line.split() for line in lines if line.startswith("content")] == [
        ["content", "0a0a0a0a0a0a,", "1", "GiB,", "at", "n-1,", "n-2,", "signed", "by", "c0ffee"],
        ["content", "0b0b0b0b0b0b,", "3", "B,", "at", "this", "node,", "not", "signed"],
    ]


def test_a_plan_says_that_what_is_missing_may_be_missing() -> None:
    lines = plan_lines(
        replace(PLAN, missing_blocks=2, missing_required_blocks=0, missing_units=("opt/shard.pt",))
    )
    assert "missing   nobody has all of opt/shard.pt; what is missing is optional" in lines


@pytest.mark.parametrize(
    ("memory_bytes", "verdict"), [(2 * GIB, ""), (GIB, ": the daemon would be killed")]
)
def test_a_plan_says_what_memory_a_target_in_memory_has(memory_bytes: int, verdict: str) -> None:
    text = " ".join(" ".join(plan_lines(replace(PLAN, memory_bytes=memory_bytes))).split())
    left = f"with {format_size(memory_bytes)} left below the memory limit"
    assert f"it is in memory, {left} of the daemon's cgroup{verdict}" in text


@pytest.mark.parametrize(
    ("trust", "failures", "shown"),
    [
        (8, 0, "full (8 of 8)"),
        (3, 2, "growing with what it delivers (3 of 8); failed 2 times in a row"),
        (-2, 0, "low: it sent what was wrong (-2 of 8)"),
    ],
)
def test_trust_is_said_in_words(trust: int, failures: int, shown: str) -> None:
    lines = peer_view_lines(replace(PEER_VIEW, trust=trust, failures=failures))
    assert f"trust       {shown}" in lines


def test_what_would_be_copied_from_other_versions_is_said_with_their_places() -> None:
    rows = tuple(ReusedRow(directory=f"/data/{number}", bytes=GIB) for number in (100, 99))
    lines = [" ".join(line.split()) for line in plan_lines(replace(PLAN, reused_from=rows))]
    at = lines.index("copied 1 GiB from /data/100")
    assert lines[at + 1] == "1 GiB from /data/99"


def test_a_plan_says_what_the_version_is_of_some_use_with() -> None:
    first = MinimalSetView(phase="core", units=3, bytes=GIB, is_everything=False, predicted_s=1.2)
    lines = plan_lines(replace(PLAN, minimal_set=first))
    at = lines.index("critical     in 0.6s")
    assert lines[at - 1] == "first phase  core: 3 units, 1 GiB, in 1.2s"
    unknown = plan_lines(replace(PLAN, minimal_set=replace(first, predicted_s=None)))
    assert unknown[at - 1] == "first phase  core: 3 units, 1 GiB, cannot be predicted"
    assert plan_lines(replace(PLAN, minimal_set=replace(first, is_everything=True))) == plan_lines(
        PLAN
    )
