"""Limits in real daemons: a recovery completes below them, says so, and is freed of them."""

import json
import urllib.request
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.errors import CkptdError, NotFound, UsageError
from ckptd.limits import KIB, MIB
from ckptd.model.words import LimitOrigin, Result
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    needlessly_wasted_bytes,
    tree_digest,
    with_and_without_tls,
)

pytestmark = pytest.mark.integration

SIZE = 4 * MIB
LATE_MAX = 2


def source_of(cluster: Cluster, *, sections: str = "", size_bytes: int = SIZE) -> Node:
    source = cluster.node("s", sections=sections)
    make_checkpoint(source.path("100"), files=[PlannedFile("shard", size_bytes)])
    source.publish(source.path("100"), critical=(), deferred=())
    return source


def receiver_of(cluster: Cluster, source: Node, *, sections: str = "") -> Node:
    receiver = cluster.node("r", peers=[source.address], sections=sections)
    eventually(receiver.client.checkpoints, "the source is known")
    return receiver


def unharmed(receiver: Node, recovery: str) -> bool:
    """Nobody was blamed, left or asked twice for what a limit held up.

    On a machine that is busy for half a second a source is late, limit or not: once or twice.
    """
    result = receiver.result(recovery)
    peer = receiver.client.peer("s")
    assert result.result is Result.COMPLETE
    assert (needlessly_wasted_bytes(result), peer.bad_blocks) == (0, 0)
    return peer.failures <= LATE_MAX


@with_and_without_tls
@pytest.mark.parametrize("limit", ["ingress", "disk_write"])
def test_a_limited_receiver_completes_and_says_what_binds_it(
    limit: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_of(cluster)
    receiver = receiver_of(cluster, source, sections=f'[limits]\n{limit} = "2MiB/s"\n')
    recovery = receiver.begin()

    def is_shown() -> bool:
        assert ckptctl(["--socket", receiver.client.socket_path, "status", "-o", "json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["recoveries"]
        return bool(shown["limiter"] == "shaper")

    eventually(is_shown, "it is bound by the limit")
    assert unharmed(receiver, recovery)
    assert tree_digest(receiver.path("llama/rank-3/100")) == tree_digest(source.path("100"))
    assert receiver.client.limits().throttled_s[limit]["normal"] > 0


@with_and_without_tls
def test_a_limited_source_holds_nobody_up_for_longer_than_needed(cluster: Cluster) -> None:
    source = source_of(cluster, sections='[limits]\negress = "2MiB/s"\n')
    receiver = receiver_of(cluster, source)
    assert unharmed(receiver, receiver.begin())
    assert source.client.limits().throttled_s["egress"]["normal"] > 0


@with_and_without_tls
def test_small_units_do_not_slip_past_a_limit(cluster: Cluster) -> None:
    source = cluster.node("s", sections='[limits]\negress = "2MiB/s"\n')
    files = [PlannedFile(f"{number:03}", 16 * KIB) for number in range(256)]
    make_checkpoint(source.path("100"), files=files)
    source.publish(source.path("100"), critical=(), deferred=())
    receiver = receiver_of(cluster, source)
    assert unharmed(receiver, receiver.begin())
    assert source.client.limits().throttled_s["egress"]["normal"] > 0


def test_a_source_with_the_lowest_limit_is_not_taken_for_dead(cluster: Cluster) -> None:
    """A block of 256 KiB takes two seconds; a lane is given up after half a second of silence."""
    source = source_of(cluster, sections='[limits]\negress = "128KiB/s"\n', size_bytes=MIB // 2)
    receiver = receiver_of(cluster, source)
    assert unharmed(receiver, receiver.begin())


def test_a_limit_that_is_set_and_lifted_counts_at_once(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_of(cluster, size_bytes=256 * MIB)
    receiver = receiver_of(cluster, source)
    options = ["--socket", receiver.client.socket_path, "limit"]
    assert ckptctl([*options, "set", "ingress.total=1MiB/s"]) == 0
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, MIB)
    view = receiver.client.recovery(recovery)
    assert view.bytes_verified + sum(row.in_flight_bytes for row in view.sources) <= 8 * MIB
    assert ckptctl([*options, "unset", "ingress.total"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("waited so far: ingress normal")
    assert unharmed(receiver, recovery)  # at 1 MiB/s it would take four minutes
    first, second = receiver.events("limits.changed")
    assert (first.facts["limits"], second.facts["limits"]) == ("ingress.total=1 MiB/s", "none")


@with_and_without_tls
def test_a_limit_of_a_source_is_lifted_in_the_middle_of_a_body(cluster: Cluster) -> None:
    source = source_of(cluster, sections='[limits]\negress = "1MiB/s"\n', size_bytes=128 * MIB)
    receiver = receiver_of(cluster, source)
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, MIB)
    source.client.change_limits(ChangeLimits(set={"egress.total": "unlimited"}))
    assert unharmed(receiver, recovery)  # at 1 MiB/s it would take two minutes


def test_the_most_urgent_recovery_goes_first_at_a_limited_source(cluster: Cluster) -> None:
    """Two receivers of one source with a limit: the deferred one waits and is not left alone."""
    source = cluster.node("s", sections='[limits]\negress = "4MiB/s"\n')
    for name, critical, deferred in (("urgent", ("*",), ()), ("later", (), ("*",))):
        make_checkpoint(source.path(name), files=[PlannedFile("shard", 8 * MIB)])
        source.publish(source.path(name), name, 1, critical=critical, deferred=deferred)
    patient, hasty = (cluster.node(name, peers=[source.address]) for name in ("p", "h"))
    for node in (patient, hasty):
        eventually(node.client.checkpoints, "the source is known")
    later = patient.begin("later", 1)
    patient.wait_bytes(later, MIB)
    urgent = hasty.begin("urgent", 1)
    assert hasty.result(urgent).result is Result.COMPLETE
    assert patient.client.recovery(later).bytes_left > 0, "it began first"
    assert unharmed(patient, later)


def test_limits_are_reloaded_and_what_was_set_goes_on(cluster: Cluster) -> None:
    node = cluster.node("a", sections='[limits]\negress = "2MiB/s"\n')
    node.client.change_limits(ChangeLimits(set={"ingress.total": "3MiB/s"}))
    config = Path(node.config_path)
    text = config.read_text()
    config.write_text(
        text.replace('egress = "2MiB/s"', '[limits.background]\ndisk_write = "1MiB/s"')
    )
    applied = node.client.reload().applied
    assert applied == ("limits.disk_write.background", "limits.egress.total")
    rows = {row.limit: (row.bytes_per_s, row.origin) for row in node.client.limits().limits}
    assert rows == {
        "disk_write.background": (MIB, LimitOrigin.CONFIG),
        "ingress.total": (3 * MIB, LimitOrigin.RUNTIME),
    }
    url = f"http://{node.client.status().listen.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=60) as page:
        limits = [
            line
            for line in page.read().decode().splitlines()
            if line.startswith("ckptd_limit_bytes_per_second{")
        ]
    assert limits == [
        'ckptd_limit_bytes_per_second{class="background",direction="disk_write"} 1.048576e+06',
        'ckptd_limit_bytes_per_second{class="total",direction="ingress"} 3.145728e+06',
    ]


def test_a_limit_for_a_time_is_over_by_itself(cluster: Cluster) -> None:
    node = cluster.node("a")
    view = node.client.change_limits(ChangeLimits(set={"ingress.total": "3MiB/s"}, for_s=3))
    (row,) = view.limits
    assert row.left_s is not None
    assert 0 < row.left_s <= 3
    eventually(lambda: not node.client.limits().limits, "its time is over")


def test_nothing_is_changed_if_one_of_several_limits_is_none(cluster: Cluster) -> None:
    node = cluster.node("a")
    changes = {"ingress.total": "3MiB/s", "ingress.all": "1MiB/s"}
    with pytest.raises(CkptdError, match=r"'ingress\.all': is not known") as refused:
        node.client.change_limits(ChangeLimits(set=changes))
    assert refused.value.exit_code == UsageError("", "").exit_code
    assert node.client.limits().limits == ()


def test_recoveries_in_the_background_yield_to_an_interface(cluster: Cluster) -> None:
    source = source_of(cluster)
    limits = '[limits]\nyield_to = "lo"\nyield_rate = "1GiB/s"\n'
    receiver = receiver_of(cluster, source, sections=limits)
    recovery = receiver.begin(is_background=True)
    assert receiver.result(recovery).result is Result.COMPLETE
    yielding = receiver.client.limits().yielding
    assert yielding is not None
    assert (yielding.interface, yielding.link_bytes_per_s) == ("lo", 1024 * MIB)
    eventually(
        lambda: (receiver.client.limits().yielding or yielding).ingress_bytes_per_s,
        "it is measured",
    )


def test_an_interface_that_is_not_there_refuses_a_reload(cluster: Cluster) -> None:
    node = cluster.node("a")
    config = Path(node.config_path)
    config.write_text(config.read_text() + '[limits]\nyield_to = "eth77"\n')
    with pytest.raises(CkptdError, match="eth77': is not there") as refused:
        node.client.reload()
    assert refused.value.exit_code in {1, NotFound("", "").exit_code}
