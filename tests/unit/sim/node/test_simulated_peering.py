from collections.abc import Iterable

from ckptd.limits import MS, SECOND
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Crash, Cut, Exhausted, Forget, Mute
from tests.support.simulation import S0, R, laid_out, run_until, two_sources

VERSION = laid_out(normal=4)


def heard(faults: Iterable[Fault], *, until_ms: int) -> list[tuple[int, str]]:
    """Return what ``r`` hears of ``s0``, and when, in milliseconds."""
    cluster = Cluster(two_sources(VERSION, *faults), keeps_story=True)
    run_until(cluster, until_ms)
    lines = [line.split(" ", 2) for line in cluster.chronicle.lines]
    return [
        (int(moment) // MS, what)
        for moment, node, what in lines
        if node == R and what.startswith((f"HoldingsArrived {S0}", f"PeerLost {S0}"))
    ]


def test_a_dead_daemon_is_noticed_at_once_and_found_again_soon() -> None:
    crash = Crash(node=S0, at_ns=2 * SECOND, for_ns=10 * SECOND)
    [first, lost, found] = heard([crash], until_ms=30_000)
    assert first == (2, "HoldingsArrived s0 1 llama/a@100:4/4")
    assert lost == (2000, "PeerLost s0")
    assert 12_000 < found[0] < 15_100
    assert found[1] == "HoldingsArrived s0 2 llama/a@100:4/4"


def test_a_dead_machine_is_noticed_when_its_answer_does_not_come() -> None:
    crash = Crash(node=S0, at_ns=2 * SECOND, has_power=False)
    [_, lost] = heard([crash], until_ms=60_000)
    assert 12_000 < lost[0] < 22_100


def test_a_cut_that_is_mended_in_time_is_not_noticed() -> None:
    cut = Cut(node=S0, to=R, at_ns=2 * SECOND, for_ns=5 * SECOND)
    assert len(heard([cut], until_ms=60_000)) == 1


def test_a_change_gets_through_once_the_cut_is_mended() -> None:
    faults = [
        Cut(node=S0, to=R, at_ns=2 * SECOND, for_ns=5 * SECOND),
        Forget(node=S0, digest=VERSION.digest, at_ns=3 * SECOND, for_ns=1 * SECOND),
    ]
    [_, changed] = heard(faults, until_ms=60_000)
    assert 7000 <= changed[0] < 7600
    assert changed[1] == "HoldingsArrived s0 1 "


def test_a_peer_that_answers_nobody_is_lost_and_found() -> None:
    mute = Mute(node=S0, at_ns=2 * SECOND, for_ns=40 * SECOND)
    [_, lost, found] = heard([mute], until_ms=90_000)
    assert lost[1] == "PeerLost s0"
    assert 42_000 < found[0] < 56_000


def test_who_is_connected_stays_so_when_a_peer_takes_no_more_connections() -> None:
    exhausted = Exhausted(node=S0, at_ns=2 * SECOND, for_ns=40 * SECOND)
    assert len(heard([exhausted], until_ms=60_000)) == 1


def test_changes_are_announced_no_more_often_than_the_pace() -> None:
    cluster = run_until(Cluster(two_sources(VERSION), keeps_story=True), 1000)
    for moment_ms in range(1000, 1100, 10):
        cluster.world.at(moment_ms * MS, cluster.nodes[S0].server.hold, VERSION, VERSION.blocks)
    while cluster.world.step(until=2000 * MS):
        pass
    told = [
        int(line.split()[0]) // MS
        for line in cluster.chronicle.lines
        if f" {R} HoldingsArrived {S0}" in line and int(line.split()[0]) >= 1000 * MS
    ]
    assert told == [1000, 1100]


def test_discovery_is_settled_once_everybody_was_asked() -> None:
    dead = Crash(node=S0, at_ns=0, has_power=False)
    anew = Crash(node=R, at_ns=1 * SECOND, for_ns=1 * SECOND)
    cluster = run_until(Cluster(two_sources(VERSION, dead, anew), keeps_story=True), 9_000)
    settled = [line for line in cluster.chronicle.lines if f"{R} DiscoverySettled" in line]
    # It starts after two seconds, and a connection is given up after three.
    assert [int(line.split()[0]) // MS for line in settled] == [5000]
    assert settled[0].endswith("DiscoverySettled False")
