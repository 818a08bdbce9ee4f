from __future__ import annotations

from ckptd.copies.fleet import FleetVersion
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import Criticality


def test_a_class_takes_with_it_what_is_more_urgent() -> None:
    sizes = {Criticality.CRITICAL: 5, Criticality.DEFERRED: 7}
    version = FleetVersion(CheckpointName("llama"), Version(1), Digest("0" * 64), sizes, ())
    assert [version.size_down_to(each) for each in Criticality] == [5, 5, 12]
