from __future__ import annotations

import pytest

from ckptd.model.words import Criticality, Result, Stage, Urgency


@pytest.mark.parametrize("criticality", Criticality)
def test_a_range_is_as_urgent_as_its_units_but_in_the_background(criticality: Criticality) -> None:
    assert Urgency.of(criticality, is_background=False).label == criticality.label
    assert Urgency.of(criticality, is_background=True) is Urgency.BACKGROUND


def test_the_last_stages_are_the_results() -> None:
    ended = [stage for stage in Stage if stage.is_ended]
    assert ended == [
        Stage.COMPLETE,
        Stage.CHOSEN,
        Stage.PARTIAL,
        Stage.FAILED,
        Stage.CANCELLED,
    ]
    assert [Stage(result) for result in Result] == ended
