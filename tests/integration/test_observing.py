"""What real daemons say of themselves while they recover: metrics, events, logs, findings."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo import demo_daemon
from ckptd.control.messages.observation import (
    CheckRow,
    Diagnosis,
    EventRecord,
    FollowQuery,
    LevelRequest,
    LevelView,
    LineRecord,
)
from ckptd.errors import CkptdError
from ckptd.limits import MIB
from ckptd.model.words import CheckResult, Result
from tests.support.cluster import (
    NAME,
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    with_and_without_tls,
)
from tests.support.fault_proxy import fault_proxy
from tests.support.metrics_page import page_of, samples
from tests.support.peers import liar, shouter
from tests.support.ports import free_ports
from tests.support.promtool import PROJECT, program, promtool

pytestmark = pytest.mark.integration

CANARY = "canary-8f1d2c"
METRICS = (PROJECT / "deploy/METRICS.md").read_text()


def ctl_of(node: Node, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ckptd.cli.ctl.command", "--socket", node.client.socket_path, *argv],
        capture_output=True,
        text=True,
        check=False,
    )


def events_of(node: Node) -> list[EventRecord]:
    return [event for event in node.client.events(FollowQuery()) if isinstance(event, EventRecord)]


def series(page: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in page.splitlines() if line.startswith("ckptd_")}


def rows_of(node: Node) -> list[CheckRow]:
    *events, last = node.client.examine()
    assert isinstance(last, Diagnosis)
    rows = [row for row in events if isinstance(row, CheckRow)]
    assert last.fail == sum(row.verdict is CheckResult.FAIL for row in rows)
    return rows


def findings_of(node: Node) -> dict[str, CheckRow]:
    """Return what is said of each subject last."""
    return {row.subject: row for row in rows_of(node)}


# Metrics.


def bound_by(page: str, bottleneck: str) -> str | None:
    """Return a page if recoveries have this bottleneck on it and no other."""
    found = re.findall(
        r"^ckptd_recovery_bottlenecks\{bottleneck=\"(.+)\"\} 1.0$", page, re.MULTILINE
    )
    return page if found == [bottleneck] else None


def test_a_page_from_the_middle_of_a_recovery_is_what_prometheus_wants(
    sources: list[Node], cluster: Cluster
) -> None:
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=8 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        before = page_of(receiver)
        recovery = receiver.begin()
        receiver.wait_bytes(recovery, 4 * MIB)
        link.hold()
        # It is the only one, and slow; while we are slow ourselves for a moment it says so.
        page = eventually(lambda: bound_by(page_of(receiver), "source"), "its source holds it up")
        link.heal()
        receiver.result(recovery)
    assert "ckptd_recovery_active 1.0" in page.splitlines()
    assert re.search(
        r"^ckptd_received_bytes_total\S+ ([4-9]\.\d+e\+06|[12]\.\d+e\+07)$", page, re.MULTILINE
    )
    assert "_created" not in page
    after = page_of(receiver)
    for text in (before, page, after):
        result = promtool("check", "metrics", text=text)
        assert (result.stderr, result.returncode) == ("", 0)
    documented = set(re.findall(r"^\| `(\w+)`", METRICS, re.MULTILINE))
    shown = set(re.findall(r"^# TYPE (ckptd_\w+)", page, re.MULTILINE))
    assert documented - shown in (
        set(),
        {
            "ckptd_tls_certificate_not_after_seconds",
            "ckptd_tls_certificate_not_after_timestamp_seconds",
        },
    )
    assert shown <= documented
    # Nothing but what the socket was asked, and what can be said only in a recovery or after it.
    for one, other in ((before, page), (page, after), (before, after)):
        assert not {
            line
            for line in series(one) ^ series(other)
            if not re.match(
                r"ckptd_(control_requests|recovery_eta|critical_unit_sources|required_unit|newest_|last_success|oldest_)",
                line,
            )
        }


def test_what_went_well_and_how_old_it_is_outlives_a_restart(
    sources: list[Node], cluster: Cluster
) -> None:
    source, other = sources
    receiver = cluster.node("r", peers=[source.address, other.address])
    assert samples(receiver, "last_success_timestamp_seconds") == {}
    assert receiver.recover().result is Result.COMPLETE
    with pytest.raises(CkptdError):
        receiver.publish(receiver.path("nothing"))
    before = samples(receiver, "last_success_timestamp_seconds")
    assert before.keys() == {"recovery"}
    assert samples(receiver, "publishes_total") == {"complete": 0, "failed": 1, "cancelled": 0}
    age_s = eventually(lambda: samples(receiver, "newest_version_age_seconds"), "it was looked at")
    assert samples(receiver, "newest_version") == {"freshest": 100, "stalest": 100}
    receiver.stop()
    receiver.start()
    receiver.wait_ready()
    assert samples(receiver, "last_success_timestamp_seconds") == before
    assert samples(receiver, "newest_version_age_seconds")["freshest"] > age_s["freshest"]
    assert (
        samples(receiver, "required_unit_copies_min")
        == {"": 3}
        == eventually(
            lambda: samples(receiver, "required_unit_copies_min") == {"": 3} and {"": 3},
            "both sources are known",
        )
    )
    assert samples(source, "publishes_total")["complete"] == 1
    assert samples(source, "publish_duration_seconds_count") == {"": 1}
    assert samples(source, "last_success_timestamp_seconds").keys() == {"publish"}
    first_bytes = samples(receiver, "first_byte_seconds_count")
    assert first_bytes.keys() == {"critical", "normal", "deferred", "background"}


@pytest.mark.parametrize("verb", ["forget", "withdraw", "remove"])
def test_what_somebody_lets_go_is_not_missed(cluster: Cluster, verb: str) -> None:
    node = cluster.node("a")
    node.publish(make_checkpoint(node.path("100")))
    node.stop()
    node.start()
    node.wait_ready()
    eventually(lambda: samples(node, "required_unit_copies_min") == {"": 1}, "it is watched")
    answer = ctl_of(node, verb, f"{NAME}@100")
    assert answer.returncode == 0, answer.stderr
    assert samples(node, "required_unit_copies_min") == {}


def test_a_copy_that_is_deleted_is_missed_by_who_lost_it_and_by_who_has_the_other(
    cluster: Cluster,
) -> None:
    (one,) = cluster.sources("a")
    other = cluster.node("b", peers=[one.address])  # it sees both, the first one only itself
    other.publish(make_checkpoint(other.path("100")))

    def copies(node: Node) -> float | None:
        return samples(node, "required_unit_copies_min").get("")

    eventually(lambda: (copies(one), copies(other)) == (1, 2), "both are watched")
    shutil.rmtree(one.path("100"))
    eventually(lambda: (copies(one), copies(other)) == (0, 1), "the deletion is noticed")
    assert findings_of(other)[f"{NAME}@100"].verdict is CheckResult.WARN
    assert findings_of(one)[f"{NAME}@100"].verdict is CheckResult.FAIL
    shutil.rmtree(other.path("100"))
    eventually(lambda: copies(other) == 0, "the last copy is missed")
    node_states = samples(other, "places")
    assert sum(node_states.values()) == node_states["stale"]


def test_a_source_counts_what_it_refuses_and_breaks_off(sources: list[Node]) -> None:
    source = sources[0]
    host, _, port = source.address.rpartition("@")[2].rpartition(":")
    before = samples(source, "unserved_requests_total")
    for target in (f"/v1/manifests/{'0' * 64}", f"/v1/signatures/{'0' * 64}"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{host}:{port}{target}", timeout=60)
    counts = samples(source, "unserved_requests_total")
    assert counts["not_held"] == before["not_held"] + 1
    assert counts.keys() == before.keys()


@pytest.fixture
def free_port() -> int:
    [port] = free_ports(1)
    return port


def ask_prometheus(port: int, expression: str) -> list[dict[str, object]]:
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as answer:
            found: list[dict[str, object]] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []  # it starts


@pytest.fixture
def prometheus(tmp_path: Path, free_port: int) -> Iterator[Path]:
    """A Prometheus that scrapes what is written into the file it yields."""
    targets = tmp_path / "targets.json"
    targets.write_text("[]")
    rules = (PROJECT / "deploy/prometheus/rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(rules.replace("interval: 10s", "interval: 500ms"))
    (tmp_path / "prometheus.yml").write_text(f"""\
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: ckptd
    file_sd_configs: [{{files: [{targets}], refresh_interval: 1s}}]
""")
    options = [
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{free_port}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([program("prometheus"), *options], stdout=log, stderr=log)
        try:
            yield targets
        finally:
            process.terminate()
            process.wait()


def test_a_prometheus_that_scrapes_a_recovery_answers_the_recording_rules(
    sources: list[Node], cluster: Cluster, free_port: int, prometheus: Path
) -> None:
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=2 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        nodes = [receiver, *sources]
        addresses = [node.client.status().listen.metrics for node in nodes]
        prometheus.write_text(json.dumps([{"targets": addresses}]))
        eventually(lambda: len(ask_prometheus(free_port, "up == 1")) == 3, "all are scraped")
        recovery = receiver.begin()
        for expression, count in (
            ("instance:ckptd_received_bytes:rate1m > 0", 1),
            ("instance:ckptd_sent_bytes:rate1m > 0", 1),
            ('job_source_kind:ckptd_received_bytes:rate5m{source_kind="peer"} > 0', 1),
            ("instance:ckptd_disk_free:ratio > 0", 3),
            ("job:ckptd_first_byte_seconds:p90_5m > 0", 1),
            ("ckptd:recovery_objective:seconds == 900", 1),
            ("ckptd_recovery_active == 1", 1),
        ):
            eventually(
                lambda asked=expression, many=count: (  # type: ignore[misc]
                    len(ask_prometheus(free_port, asked)) == many
                ),
                expression,
            )
        assert ask_prometheus(free_port, 'ALERTS{alertstate="firing"}') == []
        link.heal()
        receiver.result(recovery)


# Events and logs.


def test_events_have_ids_without_a_gap_and_can_be_followed(
    sources: list[Node], cluster: Cluster
) -> None:
    receiver = cluster.node("r", peers=[node.address for node in sources])
    following = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "ckptd.cli.ctl.command",
                "--socket",
                receiver.client.socket_path,
            ),
            *("events", "-f", "-o", "json"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    receiver.recover()
    seen = []
    for line in following.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "recovery.ended":
            break
    following.send_signal(signal.SIGINT)
    following.stdout.close()
    assert following.wait() == 130
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))
    names = [event["event"] for event in seen]
    assert "daemon.listening" in names[:2]
    stages = [event["facts"]["stage"] for event in seen if event["event"] == "recovery.stage"]
    assert stages[-3:] == ["preparing", "transferring", "placing"]
    assert [event["facts"]["result"] for event in seen if event["event"] == "recovery.ended"] == [
        "complete"
    ]
    since = ctl_of(receiver, "events", "--since", str(seen[-1]["id"] - 1), "-o", "json")
    assert json.loads(since.stdout.splitlines()[0]) == seen[-1]
    for event in events_of(receiver):
        assert f"event={event.event}" in receiver.log_text()


def test_that_a_recovery_waits_is_said_once(cluster: Cluster) -> None:
    node = cluster.node("a")
    recovery = node.begin("nobody/has-it")

    def waits() -> list[EventRecord]:
        return [event for event in events_of(node) if event.event == "recovery.waiting"]

    (waiting,) = eventually(waits, "it waits")
    assert waiting.facts["recovery"] == recovery
    assert waiting.facts["why"]
    node.client.cancel(recovery)
    assert waits() == [waiting]


def test_the_level_of_the_log_changes_for_a_while(cluster: Cluster) -> None:
    node = cluster.node("a")
    view = node.client.set_log_level(LevelRequest(level="error", for_s=0.2))
    assert (view.level, view.configured) == ("error", "info")
    eventually(lambda: node.client.log_level().level == "info", "it is as configured again")
    changes = [event for event in events_of(node) if event.event == "log.level_changed"]
    assert [change.facts["to"] for change in changes] == ["error", "info"]
    lines = [line.text for line in node.client.lines(FollowQuery()) if isinstance(line, LineRecord)]
    (line,) = [line for line in lines if "log.level_changed" in line]
    assert "to=info" in line


def test_another_level_in_the_configuration_ends_what_was_set_by_hand(cluster: Cluster) -> None:
    node = cluster.node("a")
    node.client.set_log_level(LevelRequest(level="debug", for_s=600))
    config = Path(node.config_path)
    config.write_text(f"{config.read_text()}# the same\n")
    node.client.reload()
    assert node.client.log_level().level == "debug"
    before = events_of(node)
    config.write_text(
        config.read_text().replace('format = "logfmt"', 'level = "warning"\nformat = "json"')
    )
    node.client.reload()
    assert node.client.log_level() == LevelView(level="warning", configured="warning")
    after = events_of(node)
    assert after[: len(before)] == before
    assert [event.event for event in after[len(before) :]] == [
        "caller.ordered",
        "log.level_changed",
        "config.reloaded",
    ]
    config.write_text("")
    with pytest.raises(CkptdError):
        node.client.reload()
    assert json.loads(node.log_text().splitlines()[-1])["event"] == "config.refused"


def test_what_peers_shout_is_one_printable_line_an_event(cluster: Cluster) -> None:
    with shouter() as loud:
        node = cluster.node("a", peers=loud.addresses)
        node.client.set_log_level(LevelRequest(level="debug"))
        before = series(page_of(node))
        with socket.create_connection(("127.0.0.1", node.data_port)) as stranger:
            stranger.sendall(b"GET /\x1b[2J\nlevel=error event=forged HTTP/1.1\r\n\r\n")
            while stranger.recv(65_536):
                pass
        eventually(lambda: loud.answers > 6, "everything was shouted")
        assert all(len(peer.last_error) < 1024 for peer in node.client.peers())
        table = ctl_of(node, "peers").stdout
        assert all(line.isprintable() for line in table.splitlines())
        known = {line for line in series(page_of(node)) if "control_requests" not in line}
        assert known == {line for line in before if "control_requests" not in line}
        lines = node.log_text().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.isprintable()
        assert len(line) < 2048
        assert re.match(r"timestamp=\S+ level=\w+ event=(?!forged)[a-z_.]+", line)
    assert [line for line in lines if "event=peer.lost" in line]
    assert len(lines) < 100


def test_nothing_secret_is_ever_said(
    sources: list[Node], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CKPTD_TOKEN", CANARY)
    monkeypatch.setattr(demo_daemon, "_CONFIG", f"{demo_daemon._CONFIG}# password {CANARY}\n")
    with liar("mallory", sources[0].data_port) as lying:
        receiver = cluster.add("r", peers=[lying.address, sources[1].address, "127.0.0.1:1"])
        receiver.wait_ready()
        for name in ("node.key", "token"):
            key = Path(receiver.state_dir, name)
            key.write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n")
        receiver.client.set_log_level(LevelRequest(level="debug"))
        receiver.recover()
        with pytest.raises(CkptdError):
            receiver.begin("../evil")
        receiver.client.cancel(receiver.begin("nobody/has-it"))
        said = [
            receiver.log_text(),
            page_of(receiver),
            *(
                answer.stdout + answer.stderr
                for verb in ("status", "checkpoints", "recoveries", "peers", "version", "events",
                             "logs", "doctor", "health", "log-level")
                for answer in [ctl_of(receiver, verb, "-o", "json")]
            ),
            *(ctl_of(receiver, *argv).stderr for argv in (["plan", NAME], ["cancel", "r-none"])),
        ]  # fmt: skip
        receiver.stop()
        said.append(receiver.log_text())
    assert CANARY in os.environ["CKPTD_TOKEN"]
    assert [text for text in said if CANARY in text] == []
    assert "source.bad_block" in said[0]
    assert all(said[:-3])


# Findings and probes.


def slow(row: CheckRow) -> bool:
    """Only that a disk or a peer is slow, as it is on a machine that is busy for a moment."""
    return row.verdict is CheckResult.WARN and bool(re.search("iostat|iperf3", row.remedy))


@with_and_without_tls
def test_the_doctor_finds_nothing_wrong_and_leaves_nothing_behind(cluster: Cluster) -> None:
    sources = cluster.sources("a", "b")
    node = cluster.node("r", peers=[source.address for source in sources])
    eventually(lambda: node.client.status().peers_reachable == 2, "both answer")
    rows = rows_of(node)
    found = {row.subject: row for row in rows}
    assert [row for row in rows if row.verdict is not CheckResult.OK and not slow(row)] == []
    assert "durably" in found["root main"].finding
    assert ("node" in found) == ("ca" in found) == (cluster.authority is not None)
    for source in sources:
        assert "gave " in found[f"{source.node} at {source.address}"].finding
    assert list(node.path().iterdir()) == []
    assert ctl_of(node, "doctor").returncode == 0


def test_the_doctor_names_what_is_wrong_and_what_to_do(
    sources: list[Node], cluster: Cluster
) -> None:
    with liar("mallory", sources[0].data_port) as lying:
        node = cluster.node("r", peers=[lying.address, "127.0.0.1:1"])
        eventually(lambda: node.client.status().peers_reachable == 1, "one answers")
        node.path().rename(node.path().with_name("elsewhere"))
        node.path().mkdir()
        found = findings_of(node)
        shown = ctl_of(node, "doctor")
    for subject, words in (
        ("127.0.0.1:1", "Connection refused"),
        (f"mallory at {lying.address}", "not what it says"),
        ("root main", "is not the directory any more"),
    ):
        assert found[subject].verdict is CheckResult.FAIL
        assert words in found[subject].finding
        assert found[subject].remedy
        assert words in shown.stdout
    assert shown.returncode == 1


def test_two_do_not_examine_at_once(cluster: Cluster) -> None:
    node = cluster.node("a")
    findings = node.client.examine()
    next(findings)
    with pytest.raises(CkptdError, match="under way already"):
        list(node.client.examine())
    assert isinstance(list(findings)[-1], Diagnosis)
    assert isinstance(list(node.client.examine())[-1], Diagnosis)


def test_a_probe_hears_that_the_daemon_is_ready(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster.node("a")
    assert ckptctl(["--socket", node.client.socket_path, "health"]) == 0
    assert capsys.readouterr().out == "ready\n"
    assert page_of(node, "/-/ready") == "ready\n"
    node.stop()
    assert ckptctl(["--socket", node.client.socket_path, "health"]) == 7
