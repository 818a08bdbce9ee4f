"""What the configuration asks for and did not come is a warning."""

from __future__ import annotations

from ckptd.daemon.doctor.unmet import look_at_unmet
from ckptd.model.words import CheckResult


async def test_what_did_not_come_is_named_with_the_reason() -> None:
    unmet = {"qwen": "no peer has it", "llama": "target /d is not empty"}
    rows = [row async for row in look_at_unmet(lambda: unmet)]
    assert [(row.subject, row.finding) for row in rows] == [
        ("[[recover]] llama", "target /d is not empty"),
        ("[[recover]] qwen", "no peer has it"),
    ]
    assert {row.verdict for row in rows} == {CheckResult.WARN}
    assert [row async for row in look_at_unmet(dict)] == []
