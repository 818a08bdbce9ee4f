"""What the daemon asked for itself is known after a restart."""

from __future__ import annotations

from ckptd.model.ids import CheckpointName, RecoveryId
from ckptd.store.records.configured_records import KEPT_MAX, AskedRow, ConfiguredRecords
from ckptd.store.records.database import Database

LLAMA, QWEN = CheckpointName("llama"), CheckpointName("qwen")


def row(checkpoint: CheckpointName, number: int) -> AskedRow:
    return AskedRow(checkpoint, "boot", RecoveryId(f"r-{number}"))


async def test_the_last_one_of_each_checkpoint_is_known_after_a_restart(database: Database) -> None:
    records = ConfiguredRecords(database)
    for asked in (row(LLAMA, 1), row(QWEN, 2), row(LLAMA, 3)):
        await records.note(asked)
    again = ConfiguredRecords(database)
    assert again.last(LLAMA) is None
    await again.load()
    for each in (records, again):
        assert (each.last(LLAMA), each.last(QWEN)) == (row(LLAMA, 3), row(QWEN, 2))
        assert each.is_configured("r-1")
        assert not each.is_configured("r-4")


async def test_old_ones_are_forgotten_but_for_the_last_of_each_checkpoint(
    database: Database,
) -> None:
    records = ConfiguredRecords(database)
    await records.note(row(QWEN, -1))
    for number in range(KEPT_MAX + 5):
        await records.note(row(LLAMA, number))
    assert records.last(QWEN) == row(QWEN, -1)
    known = [number for number in range(KEPT_MAX + 5) if records.is_configured(f"r-{number}")]
    assert known == list(range(5, KEPT_MAX + 5))
