"""Every reason of retention has a sentence of its own, and that of going is none of staying."""

from __future__ import annotations

from ckptd.daemon.retain.outcomes import Outcome
from ckptd.daemon.retain.reasons import reason_of
from ckptd.daemon.retain.survey import Surveyed
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.retention import RetentionRule, StandingVersion
from ckptd.model.words import GoesBecause, KeptBecause

SURVEYED = Surveyed(StandingVersion(CheckpointName("llama"), Version(7), 1.0, {"disk": 4}), ())
RULE = RetentionRule(newest=3, every_s=3600)


def test_every_reason_has_a_sentence_of_its_own() -> None:
    outcomes = [Outcome(SURVEYED, kept=kept) for kept in KeptBecause]
    outcomes += [Outcome(SURVEYED, goes=goes) for goes in GoesBecause]
    sentences = [reason_of(outcome, RULE) for outcome in outcomes]
    assert len(set(sentences)) == len(KeptBecause) + len(GoesBecause)


def test_what_stays_because_there_is_room_does_not_stay_because_room_is_short() -> None:
    stays = reason_of(Outcome(SURVEYED, kept=KeptBecause.ROOM), RULE)
    goes = reason_of(Outcome(SURVEYED, goes=GoesBecause.ROOM), RULE)
    assert stays == "there is room: only min_free lets it go"
    assert goes == "room is short, and it is not among the newest 3"
