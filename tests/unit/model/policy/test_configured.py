"""For which checkpoints a policy of the configuration counts."""

from __future__ import annotations

from ckptd.model.ids import CheckpointName
from ckptd.model.policy.configured import ConfiguredPolicy, place_mode_for, policies_for
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.words import PlaceMode

POLICIES = (
    ConfiguredPolicy("llama", Policy(("a",))),
    ConfiguredPolicy("llama/*", Policy(("b",), (Rule(("*",), phase="b"),)), PlaceMode.PROGRESSIVE),
    ConfiguredPolicy("*", Policy(("c",)), PlaceMode.ATOMIC),
)


def names(checkpoint: str) -> str:
    found = policies_for(POLICIES, CheckpointName(checkpoint))
    return "".join(name for policy in found for name in policy.phases)


def test_all_that_match_count_in_their_order() -> None:
    assert [names(each) for each in ("llama", "llama/eval", "gemma")] == ["ac", "bc", "c"]


def test_one_of_a_job_is_for_its_shards() -> None:
    assert names("llama/shard-3-of-8") == "abc"


def test_the_first_that_says_how_versions_are_placed_counts() -> None:
    modes = [
        place_mode_for(POLICIES, CheckpointName(each)) for each in ("llama", "llama/eval", "gemma")
    ]
    assert modes == [PlaceMode.ATOMIC, PlaceMode.PROGRESSIVE, PlaceMode.ATOMIC]
    assert place_mode_for(POLICIES[:1], CheckpointName("llama")) is None
