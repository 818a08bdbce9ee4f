from __future__ import annotations

import pytest

from ckptd.model.manifest import Criticality
from ckptd.model.urgency import Urgency


@pytest.mark.parametrize("criticality", Criticality)
def test_a_range_is_as_urgent_as_its_units_but_in_the_background(criticality: Criticality) -> None:
    assert Urgency.of(criticality, is_background=False).label == criticality.label
    assert Urgency.of(criticality, is_background=True) is Urgency.BACKGROUND
