"""Several contents go by one version: which counts, and which is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    ConfirmHolding,
    DiscardStaging,
    DropManifest,
    Effect,
    EndRecovery,
    ExamineRival,
    FetchManifest,
)
from ckptd.core.events import (
    DiscoverySettled,
    HoldingConfirmed,
    ManifestMissed,
    RecoveryRequested,
    RivalExamined,
    StagingDiscarded,
)
from ckptd.core.options import Options, RivalOptions
from ckptd.core.report.story import sentence
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId, PathId
from ckptd.model.words import Confirmation, FailureCause, OnConflict, RivalVerdict, Stage, StoryKind
from tests.support.scheduling import (
    A,
    B,
    C,
    R,
    Saved,
    Script,
    blocks,
    holding,
    holds,
    saved,
    wanted,
)

ONE, OTHER = saved(4, version=100), saved(5, version=100)
OLD = saved(3, version=90)
GENUINE = RivalVerdict.GENUINE
D = NodeId("d")


def examined(
    version: Saved,
    source: PathId,
    verdict: RivalVerdict = GENUINE,
    *,
    signers: tuple[str, ...] = (),
) -> RivalExamined:
    size_bytes = version.space.size_bytes
    return RivalExamined(
        R, version.digest, source, verdict, size_bytes, signers, is_trusted=bool(signers), block=0
    )


def orders(effects: list[Effect], source: NodeId | None = None) -> list[ExamineRival]:
    return [
        each for each in effects if isinstance(each, ExamineRival) and source in {None, each.source}
    ]


def asked(effects: list[Effect]) -> list[tuple[PathId, Digest]]:
    return [(each.source, each.digest) for each in effects if isinstance(each, ExamineRival)]


def chosen(effects: list[Effect]) -> list[Digest]:
    return [each.digest for each in effects if isinstance(each, ChooseVersion)]


def begun(
    *said: tuple[NodeId, Saved],
    request: RecoveryRequested | None = None,
    options: Options | None = None,
) -> tuple[Script, list[Effect]]:
    """Ask for the newest version once every peer was heard."""
    script = Script(options=options)
    for node in dict(said):
        script.tell(holds(node, *[version for name, version in said if name == node]))
    return script, script.tell(DiscoverySettled(), request or wanted(ONE))


def test_where_only_one_content_is_claimed_nothing_is_examined() -> None:
    _, effects = begun((A, ONE), (B, ONE), (C, OLD))
    assert effects == [
        ChooseVersion(R, ONE.checkpoint, ONE.version, ONE.digest),
        FetchManifest(R, A, ONE.digest),
    ]


@pytest.mark.parametrize("is_named", [False, True])
def test_each_of_several_contents_is_examined_before_anything_is_chosen(is_named: bool) -> None:
    script, effects = begun((A, ONE), (B, OTHER), request=wanted(ONE, is_named=is_named))
    assert sorted(asked(effects)) == [(A, ONE.digest), (B, OTHER.digest)]
    assert len(effects) == 2
    for order in effects:
        assert isinstance(order, ExamineRival)
        version = ONE if order.source == A else OTHER
        assert (order.recovery, order.version) == (R, version.version)
        assert order.block is not None
        assert order.block in version.blocks
    assert script.view().waiting_for == "several contents of one version to be looked at"


def test_the_block_that_is_asked_for_is_drawn_from_what_the_holder_has() -> None:
    part = holding(OTHER, blocks((3, 5)))
    drawn = set()
    for seed in range(40):
        script = Script(seed=seed)
        script.tell(holds(A, ONE), holds(B, part), holds(C, holding(OTHER, blocks((0, 4)))))
        effects = script.tell(DiscoverySettled(), wanted(ONE))
        drawn |= {order.block for order in orders(effects, B)}
    assert drawn == {3, 4}


def test_of_a_version_without_blocks_the_manifest_is_enough() -> None:
    _, effects = begun((A, saved(version=100)), (B, ONE))
    assert [order.block for order in orders(effects, A)] == [None]


def test_two_genuine_contents_end_a_recovery_that_somebody_waits_for() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (C, OTHER))
    assert script.tell(examined(OTHER, B)) == []
    assert script.tell(examined(ONE, A)) == [DiscardStaging(R)]
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    assert end.cause is FailureCause.CONFLICT
    assert end.message.startswith("llama/rank-0@100 has 2 contents: ")
    assert [(rival.digest, rival.nodes) for rival in end.rivals] == [
        (OTHER.digest, (B, C)),
        (ONE.digest, (A,)),
    ]
    assert end.rivals[0].size_bytes == OTHER.space.size_bytes
    assert end.final.version == 100


@pytest.mark.parametrize(
    "verdict", [RivalVerdict.FALSE, RivalVerdict.UNUSABLE, RivalVerdict.UNSIGNED]
)
def test_a_content_that_nobody_has_stops_nobody(verdict: RivalVerdict) -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    assert chosen(script.tell(examined(OTHER, B, verdict))) == [ONE.digest]


def test_an_invented_content_costs_its_holder_what_any_lie_does() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (B, OLD))
    script.tell(examined(OTHER, B, RivalVerdict.FALSE))
    assert script.view_source(B).trust == -2
    assert OTHER.digest not in script.scheduler.inspect().peers[B].holdings


def test_who_sent_a_bad_block_of_a_rival_is_asked_whether_it_stands_by_it() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    effects = script.tell(examined(OTHER, B, RivalVerdict.BAD_BLOCK))
    assert ConfirmHolding(B, OTHER.digest, BlockSet.single(0)) in effects
    assert chosen(effects) == [ONE.digest]
    assert script.view_source(B).trust == 0
    script.tell(HoldingConfirmed(B, OTHER.digest, Confirmation.HELD))
    assert script.view_source(B).trust == -2


def test_another_holder_is_asked_where_one_fails() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (C, OTHER))
    assert asked(script.tell(examined(OTHER, B, RivalVerdict.FALSE))) == [(C, OTHER.digest)]


def test_who_does_not_answer_is_asked_twice_and_then_does_not_count() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(examined(ONE, A))
    silent = examined(OTHER, B, RivalVerdict.NO_ANSWER)
    assert asked(script.tell(silent)) == [(B, OTHER.digest)]
    assert chosen(script.tell(silent)) == [ONE.digest]
    assert script.view_source(B).trust == 0


def test_where_nobody_answers_all_are_asked_again_later() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    silent = examined(ONE, A, RivalVerdict.NO_ANSWER), examined(OTHER, B, RivalVerdict.NO_ANSWER)
    assert len(asked(script.tell(*silent))) == 2
    assert script.tell(*silent) == []
    assert script.view().stage is Stage.SEEKING
    assert script.wait(4999) == []
    assert len(asked(script.wait(1))) == 2


def test_no_holder_is_asked_twice_once_it_was_seen_to_have_it() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(examined(OTHER, B))
    assert asked(script.tell(holds(B, OTHER))) == []
    assert asked(script.tell(holds(B, OTHER, epoch=2))) == []


def test_a_holder_that_lied_is_asked_again_in_another_life() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (C, saved(6, version=100)))
    script.tell(examined(OTHER, B, RivalVerdict.BAD_BLOCK))
    assert asked(script.tell(holds(B, OTHER))) == []
    assert asked(script.tell(holds(B, OTHER, epoch=2))) == [(B, OTHER.digest)]


def test_a_content_that_only_peers_in_quarantine_claim_never_counts() -> None:
    script = Script()
    script.tell(holds(A, ONE), holds(B, OTHER), DiscoverySettled())
    script.scheduler.inspect().peers[B].standing.quarantined_until_ns = 10**12
    assert chosen(script.tell(wanted(ONE))) == [ONE.digest]


def test_a_peer_in_quarantine_is_no_reason_to_prefer_its_version() -> None:
    script = Script()
    script.tell(holds(A, OLD), holds(B, ONE), DiscoverySettled())
    script.scheduler.inspect().peers[B].standing.quarantined_until_ns = 10**12
    assert chosen(script.tell(wanted(ONE))) == [OLD.digest]


def test_what_only_peers_in_quarantine_have_is_chosen_if_there_is_nothing_else() -> None:
    script = Script()
    script.tell(holds(B, ONE), DiscoverySettled())
    script.scheduler.inspect().peers[B].standing.quarantined_until_ns = 10**12
    assert chosen(script.tell(wanted(ONE))) == [ONE.digest]


def test_a_node_that_claims_more_contents_than_anybody_has_does_not_count() -> None:
    invented = [saved(size, version=100) for size in range(10, 15)]
    _, effects = begun((A, ONE), *[(B, version) for version in invented])
    assert asked(effects) == [(A, ONE.digest)]


def test_a_node_may_claim_as_many_contents_as_somebody_may_have() -> None:
    several = [saved(size, version=100) for size in range(10, 14)]
    _, effects = begun((A, ONE), *[(B, version) for version in several])
    assert len(asked(effects)) == 4
    assert {source for source, _ in asked(effects)} >= {B}


def test_who_has_nothing_of_a_content_yet_cannot_be_looked_at() -> None:
    script = Script()
    script.tell(holds(A, ONE), holds(B, holding(OTHER, blocks())), holds(C, OTHER))
    assert set(asked(script.tell(DiscoverySettled(), wanted(ONE)))) == {
        (A, ONE.digest),
        (C, OTHER.digest),
    }


def test_only_a_few_claims_are_examined_at_once() -> None:
    versions = [saved(size, version=100) for size in range(10, 16)]
    nodes = [NodeId(f"n{index}") for index in range(6)]
    script, effects = begun(*zip(nodes, versions, strict=True))
    assert len(asked(effects)) == 4
    source, digest = asked(effects)[0]
    [version] = [each for each in versions if each.digest == digest]
    assert len(asked(script.tell(examined(version, source)))) == 1


# Without asking


def test_a_content_that_a_trusted_key_signed_is_taken() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (C, OTHER))
    script.tell(examined(OTHER, B))
    effects = script.tell(examined(ONE, A, signers=("c0ffee",)))
    assert chosen(effects) == [ONE.digest]
    [why] = [each.why for each in effects if isinstance(each, ChooseVersion)]
    assert why == (
        "newest of which every block is reachable; of 2 contents the one signed by c0ffee"
    )
    choice = script.recovery().story.choice
    assert choice is not None
    assert [other.why for other in choice.passed_over] == ["other content under the same version"]


def test_two_signed_contents_are_still_two() -> None:
    script, _ = begun((A, ONE), (B, OTHER), (C, saved(6, version=100)))
    script.tell(examined(saved(6, version=100), C))
    script.tell(examined(ONE, A, signers=("c0ffee",)), examined(OTHER, B, signers=("decade",)))
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    assert {rival.digest for rival in end.rivals} == {ONE.digest, OTHER.digest}


def test_a_content_that_this_node_had_is_taken() -> None:
    request = replace(wanted(ONE), had=frozenset({ONE.digest, OLD.digest}))
    script, _ = begun((A, ONE), (B, OTHER), (C, OTHER), request=request)
    script.tell(examined(OTHER, B))
    assert chosen(script.tell(examined(ONE, A))) == [ONE.digest]


def test_a_content_that_is_here_is_taken_and_need_not_be_looked_at() -> None:
    request = replace(wanted(ONE), own=(holding(ONE),))
    script, effects = begun((B, OTHER), request=request)
    assert asked(effects) == [(B, OTHER.digest)]
    assert chosen(script.tell(examined(OTHER, B))) == [ONE.digest]


def test_a_content_that_is_here_only_as_a_copy_for_others_settles_nothing() -> None:
    request = replace(wanted(ONE), own=(holding(ONE),), copied=frozenset({ONE.digest}))
    script, effects = begun((A, OTHER), request=request)
    assert asked(effects) == [(A, OTHER.digest)]
    assert chosen(script.tell(examined(OTHER, A))) == []
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    assert {rival.digest for rival in end.rivals} == {ONE.digest, OTHER.digest}


def test_a_signed_content_goes_before_one_that_this_node_had() -> None:
    request = replace(wanted(ONE), had=frozenset({ONE.digest}))
    script, _ = begun((A, ONE), (B, OTHER), request=request)
    script.tell(examined(OTHER, B, signers=("c0ffee",)))
    assert chosen(script.tell(examined(ONE, A))) == [OTHER.digest]


def test_of_several_signed_contents_the_one_this_node_had_is_taken() -> None:
    third = saved(6, version=100)
    request = replace(wanted(ONE), had=frozenset({ONE.digest, third.digest}))
    script, _ = begun((A, ONE), (B, OTHER), (C, third), request=request)
    script.tell(examined(third, C), examined(OTHER, B, signers=("decade",)))
    effects = script.tell(examined(ONE, A, signers=("c0ffee",)))
    assert chosen(effects) == [ONE.digest]
    [why] = [each.why for each in effects if isinstance(each, ChooseVersion)]
    assert why.endswith("of 3 contents the one this node had")


def test_what_is_here_is_listed_with_its_size_beside_what_peers_have() -> None:
    request = replace(wanted(ONE), own=(holding(OLD), holding(ONE), holding(saved(9, version=100))))
    script, _ = begun((B, OTHER), request=request)
    script.tell(examined(OTHER, B))
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    sizes = {rival.digest: (rival.size_bytes, rival.nodes) for rival in end.rivals}
    assert sizes[ONE.digest] == (ONE.space.size_bytes, ())


def test_an_answer_of_an_earlier_life_is_not_held_against_the_node() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(holds(B, OTHER, epoch=2))
    script.tell(examined(OTHER, B, RivalVerdict.FALSE))
    assert script.view_source(B).trust == 0
    assert OTHER.digest in script.scheduler.inspect().peers[B].holdings


def test_an_answer_of_a_node_that_is_known_no_more_is_taken_in() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    del script.scheduler.inspect().peers[B]
    assert chosen(script.tell(examined(OTHER, B, RivalVerdict.FALSE))) == [ONE.digest]


def test_why_a_signature_did_not_suffice_is_said_when_nothing_is_left() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(replace(examined(OTHER, B, RivalVerdict.UNSIGNED), refusal="is unsigned"))
    assert script.recovery().search.signature_refusal == "is unsigned"
    script, _ = begun((A, ONE), (B, OTHER))
    script.recovery().search.signature_refusal = "was unsigned before"
    script.tell(examined(OTHER, B, RivalVerdict.BAD_BLOCK))
    assert script.recovery().search.signature_refusal == "was unsigned before"


# What somebody asked for


def test_a_digest_that_was_named_is_taken() -> None:
    for version in (ONE, OTHER):
        request = replace(wanted(ONE, is_named=True), digest_prefix=version.digest[:8])
        _, effects = begun((A, ONE), (B, OTHER), request=request)
        assert chosen(effects) == [version.digest]


def test_a_digest_that_was_named_may_be_of_an_older_version() -> None:
    request = replace(wanted(ONE), digest_prefix=OLD.digest[:8], not_below=ONE.version)
    _, effects = begun((A, ONE), (B, OLD), request=request)
    assert chosen(effects) == [OLD.digest]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest_prefix": "0" * 8}, " with a digest that begins with 00000000"),
        ({"from_node": D}, " that d has"),
    ],
)
def test_a_content_that_nobody_has_is_waited_for_and_named(
    change: dict[str, str | NodeId], said: str
) -> None:
    request = replace(wanted(ONE, patience_ms=1000), **change)  # type: ignore[arg-type]
    script, effects = begun((A, ONE), (B, OTHER), request=request)
    assert effects == []
    assert script.wait(1000) == [DiscardStaging(R)]
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    assert end.message == f"nobody has llama/rank-0{said}"


def test_the_content_of_a_node_that_was_named_is_taken_from_whoever_has_it() -> None:
    request = replace(wanted(ONE), from_node=C)
    script, effects = begun((A, OTHER), (B, ONE), (C, OTHER), request=request)
    assert chosen(effects) == [OTHER.digest]
    assert script.recovery().swarm.source_count == 0
    assert effects[-1] == FetchManifest(R, A, OTHER.digest)


# Without a person


def test_a_recovery_in_the_background_waits_until_one_content_is_left() -> None:
    script, _ = begun((A, ONE), (B, OTHER), request=wanted(ONE, is_background=True))
    script.tell(examined(ONE, A))
    assert script.tell(examined(OTHER, B)) == []
    digests = {ONE.digest[:12], OTHER.digest[:12]}
    waiting_for = script.view().waiting_for
    assert waiting_for.startswith("somebody to choose one of several contents: ")
    assert set(waiting_for.rpartition(": ")[2].split(", ")) == digests
    assert script.wait(3_600_000) == []
    assert chosen(script.tell(holds(A))) == [OTHER.digest]


def test_a_recovery_in_the_background_that_is_out_of_patience_names_the_conflict() -> None:
    request = wanted(ONE, is_background=True, patience_ms=1000)
    script, _ = begun((A, ONE), (B, OTHER), request=request)
    script.tell(examined(ONE, A))
    script.tell(examined(OTHER, B))
    assert script.wait(999) == []
    assert script.wait(1) == [DiscardStaging(R)]
    [end] = script.tell(StagingDiscarded(R))
    assert isinstance(end, EndRecovery)
    assert (end.cause, len(end.rivals)) == (FailureCause.CONFLICT, 2)


def test_a_recovery_in_the_background_may_take_what_most_nodes_have() -> None:
    options = Options(rivals=RivalOptions(on_conflict=OnConflict.MOST_HOLDERS))
    request = wanted(ONE, is_background=True)
    script, _ = begun((A, ONE), (B, OTHER), (C, OTHER), request=request, options=options)
    script.tell(examined(ONE, A))
    effects = script.tell(examined(OTHER, B))
    assert chosen(effects) == [OTHER.digest]
    [why] = [each.why for each in effects if isinstance(each, ChooseVersion)]
    assert "of 2 contents the one that most nodes have" in why


def test_a_recovery_that_becomes_urgent_asks_the_person() -> None:
    script, _ = begun((A, ONE), (B, OTHER), request=wanted(ONE, is_background=True))
    script.tell(examined(ONE, A), examined(OTHER, B))
    recovery = script.recovery()
    recovery.request = replace(recovery.request, is_background=False)
    assert script.wake() == [DiscardStaging(R)]


# Afterwards


def test_a_content_that_was_seen_is_not_looked_at_again_when_another_one_falls_away() -> None:
    script, _ = begun(
        (A, ONE), (B, OTHER), request=replace(wanted(ONE), had=frozenset({ONE.digest}))
    )
    script.tell(examined(OTHER, B))
    script.tell(examined(ONE, A))
    script.tell(holds(A))
    effects = script.tell(ManifestMissed(R, A, is_lie=False))
    assert chosen(effects) == [OTHER.digest]
    assert asked(effects) == []


def test_the_story_says_who_was_looked_at() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(examined(OTHER, B, RivalVerdict.BAD_BLOCK))
    told = [
        sentence(entry)
        for entry in script.recovery().story.entries
        if entry.kind is StoryKind.RIVAL_EXAMINED
    ]
    assert told == [
        f"b was asked for one block of what it says it has: {OTHER.digest[:12]}: bad block"
    ]


def test_contents_that_nobody_can_be_seen_to_have_give_way_to_an_older_version() -> None:
    effects: list[Effect] = []
    script, _ = begun((A, ONE), (B, OTHER), (C, OLD))
    silent = examined(ONE, A, RivalVerdict.NO_ANSWER), examined(OTHER, B, RivalVerdict.NO_ANSWER)
    for _ in range(4):
        script.tell(*silent)
        assert chosen(script.tell(*silent)) == []
        effects.extend(script.wait(5000))
    assert script.now_ms == 20_000
    assert chosen(effects) == [OLD.digest]
    choice = script.recovery().story.choice
    assert choice is not None
    assert {other.why for other in choice.passed_over} == {"its manifest was wrong or did not come"}


def test_one_that_was_seen_is_taken_once_the_others_were_waited_for_long_enough() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(examined(ONE, A))
    assert script.wait(19_999) == []
    assert chosen(script.wait(1)) == [ONE.digest]


def test_who_says_that_it_does_not_have_it_is_believed_at_once() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    script.tell(examined(ONE, A))
    assert chosen(script.tell(examined(OTHER, B, RivalVerdict.NOT_HELD))) == [ONE.digest]
    assert script.view_source(B).trust == 0


def test_where_nothing_else_is_claimed_they_are_looked_at_again() -> None:
    script, _ = begun((A, ONE), (B, OTHER))
    silent = examined(ONE, A, RivalVerdict.NO_ANSWER), examined(OTHER, B, RivalVerdict.NO_ANSWER)
    for _ in range(9):
        assert len(asked(script.tell(*silent))) == 2
        assert script.tell(*silent) == []
        assert chosen(effects := script.wait(5000)) == [], "that would be a guess"
        assert len(asked(effects)) == 2
    assert script.view().stage is Stage.SEEKING


def test_beside_a_content_that_came_too_late_another_one_has_to_be_seen() -> None:
    script, effects = begun((A, ONE), request=wanted(ONE, is_named=True))
    assert chosen(effects) == [ONE.digest]
    script.tell(holds(B, OTHER))
    late = script.wait(20_000)
    assert chosen(late) == [], "that would be a guess"
    assert asked(late) == [(B, OTHER.digest)]
    [drop] = [each for each in late if isinstance(each, DropManifest)]
    assert drop.source == A
    assert chosen(script.tell(examined(OTHER, B))) == [OTHER.digest]
    choice = script.recovery().story.choice
    assert choice is not None
    assert choice.why.endswith("the only one of 2 contents that could be seen")
