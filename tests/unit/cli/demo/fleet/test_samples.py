"""What follows from who holds what."""

import pytest

from ckptd.cli.demo.fleet.samples import EIGHT, Fleet, Held, Origin, Sample, Span, spans

FLEET = Fleet({"east": ("a", "b"), "west": ("c",)})


def sample(at_s: float = 0.0, **nodes: list[tuple[int, int]]) -> Sample:
    """Who holds which shards of which versions: ``a=[(0, 7)]``."""
    return Sample(
        at_s,
        {
            node: tuple(Held(shard, version, Origin.SAVED) for shard, version in holds)
            for node, holds in nodes.items()
        },
    )


def test_eight_nodes_in_four_zones_have_a_rank_each() -> None:
    assert EIGHT.ranks == 8
    assert EIGHT.nodes[2] == "node-2"
    assert EIGHT.zones_of(["node-7", "node-2", "node-3"]) == ["zone-1", "zone-3"]


def test_a_version_is_whole_when_each_shard_is_with_somebody_and_older_ones_may_be() -> None:
    seen = sample(a=[(0, 7), (1, 7), (0, 8)], c=[(2, 7), (1, 8)])
    assert seen.versions() == [7, 8]
    assert FLEET.is_whole(seen, 7)
    assert not FLEET.is_whole(seen, 8)
    assert FLEET.newest_whole(seen) == 7
    assert FLEET.newest_whole(sample()) is None


@pytest.mark.parametrize(("c", "lacking"), [([0, 1, 2], []), ([0, 1], [2]), ([], [0, 1, 2])])
def test_copies_count_in_different_zones_alone(c: list[int], lacking: list[int]) -> None:
    both = [(0, 7), (1, 7), (2, 7)]
    seen = sample(a=both, b=both, c=[(shard, 7) for shard in c])
    assert FLEET.lacking_copies(seen, 7) == lacking
    assert FLEET.newest_copied(seen) == (None if lacking else 7)


def test_who_is_gone_holds_nothing() -> None:
    seen = sample(a=[(0, 7), (1, 7), (2, 7)])
    assert seen.holders(7, 2) == ["a"]
    assert not FLEET.is_whole(sample(b=[]), 7)


def test_what_stays_the_same_is_one_span_up_to_where_it_is_another() -> None:
    samples = [sample(float(second)) for second in range(5)]
    assert spans(samples, ["x", "x", None, "y", "y"]) == [
        (Span(0.0, 2.0), "x"),
        (Span(3.0, 4.0), "y"),
    ]
    assert spans(samples[:1], ["x"]) == [(Span(0.0, 0.0), "x")]
    assert spans([], []) == []
