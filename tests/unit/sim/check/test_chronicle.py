from ckptd.limits import MS
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Reset
from tests.support.simulation import R, laid_out, two_sources

VERSION = laid_out(normal=32)


def story_of(*, at_ns: int) -> tuple[list[str], str]:
    cluster = Cluster(two_sources(VERSION, Reset(node=R, at_ns=at_ns)), keeps_story=True)
    cluster.run()
    return list(cluster.chronicle.lines), cluster.chronicle.digest()


def test_equal_scenarios_tell_equal_stories() -> None:
    assert story_of(at_ns=50 * MS) == story_of(at_ns=50 * MS)


def test_a_small_difference_makes_another_story() -> None:
    assert story_of(at_ns=50 * MS)[1] != story_of(at_ns=51 * MS)[1]


def test_the_digest_does_not_need_the_lines() -> None:
    cluster = Cluster(two_sources(VERSION, Reset(node=R, at_ns=50 * MS)))
    assert cluster.run().digest == story_of(at_ns=50 * MS)[1]
    assert not cluster.chronicle.lines


def test_a_story_names_moment_node_and_what_happened() -> None:
    lines, _ = story_of(at_ns=50 * MS)
    assert lines[:3] == ["0 s0 begins life 1", "0 s1 begins life 1", "0 r begins life 1"]
    assert any("r   → CommitBlocks r.0 BlockSet([(0, " in line for line in lines)
    assert lines[-1].endswith("r   → EndRecovery r.0 complete None ")
