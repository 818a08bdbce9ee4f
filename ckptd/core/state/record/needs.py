"""Ranges of units that somebody waits for, and what is fetched ahead of readers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from ckptd.core.options import NeedOptions
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import NeedId


@dataclass(slots=True)
class ReadAhead:
    """How far ahead of one reader bytes of a unit are fetched.

    A reader that goes on where it ended, or within what was fetched ahead for it, reads
    sequentially: whenever it has read half as much as its window has, that is doubled. Whoever
    begins elsewhere seeks: then nothing is fetched ahead until it goes on from there.

    Attributes:
        position: The byte behind the range that was read last.
        window_bytes: So much is fetched ahead of it.
        read_bytes: So much was read since that was doubled last.
        end: Up to this byte is fetched ahead.
    """

    position: int = -1
    window_bytes: int = 0
    read_bytes: int = 0
    end: int = -1

    def note(self, start: int, end: int, options: NeedOptions) -> int:
        """Take in that a range is read; return the byte up to which to fetch ahead.

        Args:
            start: The first byte of the range.
            end: The byte behind it.
            options: The numbers.
        """
        self.read_bytes += end - start
        if not self.position <= start <= self.end:
            self.window_bytes = self.read_bytes = 0
        elif not self.window_bytes:
            self.window_bytes, self.read_bytes = max(end - start, options.ahead_bytes_first), 0
        elif 2 * self.read_bytes >= self.window_bytes:
            self.window_bytes, self.read_bytes = 2 * self.window_bytes, 0
        self.window_bytes = min(self.window_bytes, options.ahead_bytes_max)
        self.position, self.end = end, end + self.window_bytes
        return self.end


@dataclass(frozen=True, slots=True)
class Need:
    """A range that somebody waits for.

    Attributes:
        asked: The blocks that go before everything: its first ones, so many that they keep a
            source busy.
        rest: What of it comes behind those; fetched ahead.
    """

    asked: BlockSet
    rest: BlockSet


@dataclass(slots=True)
class Reader:
    """Somebody who reads one range after another.

    Attributes:
        unit: Of this unit.
        ahead: How far ahead of it is fetched.
        blocks: What that comes to.
    """

    unit: int
    ahead: ReadAhead = field(default_factory=ReadAhead)
    blocks: BlockSet = field(default_factory=BlockSet)


@dataclass(slots=True)
class Needs:
    """What is waited for of one recovery at this moment.

    Attributes:
        open: The ranges, in the order in which they were asked for first.
        readers: Who read lately, the last one last; bounded, so that any number may come.
    """

    open: dict[NeedId, Need] = field(default_factory=dict)
    readers: OrderedDict[str, Reader] = field(default_factory=OrderedDict)

    def of_reader(self, name: str, unit: int, options: NeedOptions) -> Reader:
        """Return a reader; one that turns to another unit is a new one there."""
        reader = self.readers.pop(name, None)
        if reader is None or reader.unit != unit:
            reader = Reader(unit)
        self.readers[name] = reader
        while len(self.readers) > options.readers_max:
            self.readers.popitem(last=False)
        return reader

    @property
    def asked(self) -> BlockSet:
        """All blocks that somebody waits for."""
        return union(need.asked for need in self.open.values())

    @property
    def ahead(self) -> BlockSet:
        """All blocks that are fetched ahead of those who read."""
        rests = union(need.rest for need in self.open.values())
        return rests | union(reader.blocks for reader in self.readers.values())

    def first_need(self, blocks: BlockSet) -> NeedId | None:
        """Return who has waited longest for any of some blocks; ``None``: nobody waits."""
        return next((name for name, each in self.open.items() if each.asked.meets(blocks)), None)

    def first_of(self, blocks: BlockSet) -> BlockSet:
        """Return those of some blocks that are waited for longest; empty if none are."""
        name = self.first_need(blocks)
        return BlockSet() if name is None else self.open[name].asked & blocks
