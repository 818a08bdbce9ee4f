"""Which versions of a job are whole, by what is claimed and what is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.events import PeerLost
from ckptd.core.jobs.wholeness import is_covered, look_at
from ckptd.core.options import Options
from ckptd.core.state.job_claims import Layout
from ckptd.core.state.record.joining import KnownShard
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Version
from tests.support.jobs import JobScript, all_shards, job_wanted, shard_of
from tests.support.scheduling import A, B, C, blocks, holding, holds

TWO = all_shards(2)
LAYOUT = Layout(Version(100), 2)


def looked(script: JobScript, **words: object) -> tuple[dict[int, list[str]], str]:
    """Look at the version that is in two shards."""
    recovery = Recovery(replace(job_wanted(), **words), sequence=0, started_ns=0)  # type: ignore[arg-type]
    state = script.scheduler.inspect()
    step = Step(state, Options(), script.scheduler._rng, script.now)
    found = look_at(step, recovery, LAYOUT)
    return {index: list(digests) for index, digests in found.contents.items()}, found.lacking


def test_a_version_is_whole_if_every_shard_is_with_somebody() -> None:
    script = JobScript()
    script.tell(script.have(A, TWO[0]), script.have(B, TWO[1]))
    assert looked(script) == ({0: [TWO[0].digest], 1: [TWO[1].digest]}, "")


def test_parts_of_a_shard_at_several_peers_and_here_make_it_whole() -> None:
    script = JobScript()
    shard = TWO[1]
    first, rest = blocks((0, 2)), shard.blocks - blocks((0, 2))
    script.tell(script.have(A, TWO[0]), holds(B, holding(shard, first)))
    assert looked(script)[1] == "shard 1/2 is missing: nobody has all of it"
    assert not looked(script, own=(holding(shard, rest),))[1]
    assert looked(script, own=(holding(shard, rest),), withdrawn=frozenset({shard.digest}))[1]
    script.tell(holds(C, holding(shard, rest)))
    assert not looked(script)[1]


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ([], "nobody has it"),
        ([B], "it was last at b, which does not answer"),
        ([B, C], "it was last at b, c, which do not answer"),
    ],
)
def test_it_says_where_a_shard_was_last(claims: list[str], said: str) -> None:
    script = JobScript()
    script.tell(script.have(A, TWO[0]))
    for node in claims:
        script.tell(script.have(node, TWO[1]), PeerLost(node))  # type: ignore[arg-type]
    assert looked(script) == ({}, f"shard 1/2 is missing: {said}")


def test_it_says_how_many_others_nobody_has() -> None:
    script = JobScript()
    four = all_shards(4)
    script.tell(script.have(A, four[0]))
    recovery = Recovery(job_wanted(), sequence=0, started_ns=0)
    step = Step(script.scheduler.inspect(), Options(), script.scheduler._rng, script.now)
    said = look_at(step, recovery, Layout(Version(100), 4)).lacking
    assert said == "shard 1/4 is missing: nobody has it, and of 2 others nobody has any"


def test_peers_in_quarantine_have_nothing() -> None:
    script = JobScript()
    script.tell(script.have(A, TWO[0]), script.have(B, TWO[1]))
    script.scheduler.inspect().peers[B].standing.quarantined_until_ns = 60 * SECOND
    assert looked(script)[1] == "shard 1/2 is missing: only peers in quarantine have it"


def test_contents_of_a_shard_are_listed_that_of_most_nodes_first() -> None:
    script = JobScript()
    other = shard_of(1, 2, content="other")
    script.tell(script.have(A, *TWO), script.have(B, other), script.have(C, other))
    assert looked(script)[0][1] == [other.digest, TWO[1].digest]
    assert looked(script, had=frozenset({TWO[1].digest}))[0][1] == [TWO[1].digest]
    assert looked(script, own=(holding(TWO[1]),))[0][1] == [TWO[1].digest]


def test_what_was_refused_is_no_content() -> None:
    script = JobScript()
    script.tell(script.have(A, *TWO))
    script.scheduler.inspect().note_refused(TWO[1].digest, "it is bad")
    assert looked(script)[1] == "shard 1/2 is missing: refused: it is bad"


def test_once_the_manifest_is_known_it_counts_and_not_what_peers_say_of_optional_blocks() -> None:
    recovery = Recovery(job_wanted(), sequence=0, started_ns=0)
    shard = shard_of(1, 2, optional=(2,))
    required = shard.blocks - shard.space.optional_blocks()
    lax = replace(holding(shard, blocks((0, 1))), optional=shard.blocks - blocks((0, 1)))
    assert is_covered(recovery, shard.digest, [lax])
    assert is_covered(recovery, shard.digest, [holding(shard, required)])
    optional = shard.space.optional_blocks()
    recovery.joining.known[shard.digest] = KnownShard(shard.space.block_count, optional)
    assert not is_covered(recovery, shard.digest, [lax])
    assert is_covered(recovery, shard.digest, [holding(shard, required)])
    short = replace(lax, block_count=1, blocks=BlockSet.full(1))
    assert short.is_complete
    assert not is_covered(recovery, shard.digest, [short])
