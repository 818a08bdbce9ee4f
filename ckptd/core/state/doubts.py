"""What is to be thought of a source's copy of one version, after it sent bad blocks of it.

Plain records; what follows from them is decided in :mod:`ckptd.core.peers.blame`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ckptd.core.options import TrustOptions
from ckptd.model.blocks import BlockRun, BlockSet, union


@dataclass(slots=True)
class DoubtedUnit:
    """A unit of which a source sent a bad block.

    Attributes:
        run: Its blocks.
        is_critical: It is a critical one.
        bad: Blocks of it that the source sent wrongly, and not rightly since.
        unpaid_count: How many bad blocks of it cost the source nothing so far.
        is_excused: It said in this life that it does not have it any more: no second time.
        is_unproven: If the source claims it, one block of it is asked for first, alone.
        is_blamed: It was blamed for it after the excuse: what was under way then is not excused.
    """

    run: BlockRun
    is_critical: bool
    bad: BlockSet = field(default_factory=BlockSet)
    unpaid_count: int = 0
    is_excused: bool = False
    is_unproven: bool = False
    is_blamed: bool = False


@dataclass(slots=True)
class Doubts:
    """A source's copy of one version.

    Attributes:
        units: Those of which it sent bad blocks, by index.
        waiting: Bad blocks that it will be asked about.
        unanswered_count: How often it was asked in this life and gave no answer.
        strikes: How often bad blocks came, whatever it said of them, over all its lives.
    """

    units: dict[int, DoubtedUnit] = field(default_factory=dict)
    waiting: BlockSet = field(default_factory=BlockSet)
    unanswered_count: int = 0
    strikes: int = 0

    def begin_life(self) -> None:
        """Let a source that has restarted deny once more; what it sent wrongly it has to prove.

        What it found wrong it may not have written down before it went. So much it may say again;
        how often bad blocks came is not forgotten with it.
        """
        self.waiting, self.unanswered_count = BlockSet(), 0
        for unit in self.units.values():
            unit.is_excused = False
            unit.is_unproven |= bool(unit.bad)

    def is_spent(self, options: TrustOptions) -> bool:
        """Return whether it is asked for nothing of the version that another one has."""
        return (
            self.strikes >= options.strikes_max or self.excused_count >= options.excused_units_max
        )

    @property
    def unproven(self) -> BlockSet:
        """All blocks of units that it has not shown to be right again."""
        return union(BlockSet.of_run(unit.run) for unit in self.units.values() if unit.is_unproven)

    @property
    def excused(self) -> BlockSet:
        """All blocks that an excuse covers if they were under way when it was given."""
        units = (each for each in self.units.values() if each.is_unproven and not each.is_blamed)
        return union(BlockSet.of_run(unit.run) for unit in units)

    @property
    def excused_count(self) -> int:
        """For how many units a denial counted in this life."""
        return sum(unit.is_excused for unit in self.units.values())

    def among(self, blocks: BlockSet) -> Iterator[DoubtedUnit]:
        """Yield the units that some blocks belong to."""
        return (unit for unit in self.units.values() if blocks.meets(BlockSet.of_run(unit.run)))

    def proof_block(self, blocks: BlockSet) -> int:
        """Return which block to ask for, alone.

        The most urgent one; if its unit is unproven, a block of that which was bad before.

        Args:
            blocks: What the source could serve; not empty.
        """
        first = blocks.first_run()
        assert first is not None, "there is something to ask for"
        for unit in self.units.values():
            if unit.is_unproven and unit.run.start <= first.start < unit.run.end:
                again = (unit.bad & blocks).first_run()
                return first.start if again is None else again.start
        return first.start
