from __future__ import annotations

from ckptd.core.state.record.tally import Waste
from ckptd.model.words import WasteReason


def test_what_was_of_no_use_is_added_up_by_reason() -> None:
    waste = Waste()
    assert waste.total_bytes == 0
    waste.add(WasteReason.LOST, 5)
    waste.add(WasteReason.LOST, 2)
    waste.add(WasteReason.HEDGE, 1)
    assert waste.by_reason == {WasteReason.LOST: 7, WasteReason.HEDGE: 1}
    assert waste.total_bytes == 8
