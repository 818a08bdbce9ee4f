"""Which version of each checkpoint is active here: where its link leads, and is about to lead.

A link is swapped between two transactions: what is intended is written down before, and that it is
so after. A crash in between leaves the intention, which the next start carries out.
"""

from __future__ import annotations

from typing import NamedTuple

from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class ActiveVersion(NamedTuple):
    """Where a link leads, or is about to lead: columns of the table ``active`` in its order.

    Attributes:
        root: Name of the root in which both are.
        checkpoint: Whose link it is: a checkpoint, or a job whose shards stand in one directory.
        link: Its path below the root.
        directory: Where it leads to, relative to the root; ``None``: it is to be taken away.
        version: Which version stands there; ``None`` with that.
        digest: Its identity; ``None`` also of a job.
        at_s: When it was asked for, in Unix time.
    """

    root: str
    checkpoint: CheckpointName
    link: str
    directory: str | None
    version: Version | None
    digest: Digest | None
    at_s: float


_Key = tuple[str, CheckpointName]


class ActiveRecords:
    """The table ``active``, and the same in memory. Belongs to the event loop.

    All that write raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now: dict[_Key, ActiveVersion] = {}
        self._next: dict[_Key, ActiveVersion] = {}
        self._led_to: dict[tuple[str, str], ActiveVersion] = {}
        self._used: set[tuple[str, str]] = set()

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        rows = await self._database.run(
            lambda connection: connection.execute("SELECT * FROM active ORDER BY rowid").fetchall()
        )
        for is_next, *row in rows:
            found = ActiveVersion(*row)
            (self._next if is_next else self._now)[_key(found)] = found
        self._note_places()

    def _note_places(self) -> None:
        """Know by directory what is active: that is asked for each place that is shown."""
        self._led_to = {
            (row.root, row.directory): row for row in self._now.values() if row.directory
        }
        going = {(row.root, row.directory) for row in self._next.values() if row.directory}
        self._used = {*self._led_to, *going}

    def all(self) -> tuple[ActiveVersion, ...]:
        """Return where all links lead, by checkpoint."""
        return tuple(sorted(self._now.values(), key=lambda each: (each.checkpoint, each.root)))

    def of(self, checkpoint: CheckpointName) -> tuple[ActiveVersion, ...]:
        """Return where the links of a checkpoint or job lead: one in each root at most."""
        return tuple(each for each in self.all() if each.checkpoint == checkpoint)

    def at(self, root: str, directory: str) -> ActiveVersion | None:
        """Return whose link leads to a directory; ``None`` if none does."""
        return self._led_to.get((root, directory))

    def known(self, root: str, checkpoint: CheckpointName) -> ActiveVersion | None:
        """Return where the link of a checkpoint in a root leads; ``None`` if there is none."""
        return self._now.get((root, checkpoint))

    def intended(self) -> tuple[ActiveVersion, ...]:
        """Return what was intended and is not known to be so, in the order of the intentions."""
        return tuple(self._next.values())

    def is_active(self, root: str, directory: str) -> bool:
        """Return whether a link leads to a directory, or is about to, or may lead there still."""
        return (root, directory) in self._used

    async def intend(self, wanted: ActiveVersion) -> None:
        """Write down where a link is about to lead. From this call on that place is active."""
        key, before = _key(wanted), self._next.get(_key(wanted))
        self._next[key] = wanted
        self._note_places()
        try:
            await self._database.run(lambda connection: _write(connection, wanted))
        except BaseException:
            if before is None:
                del self._next[key]
            else:
                self._next[key] = before
            self._note_places()
            raise

    async def settle(self, wanted: ActiveVersion) -> None:
        """Write down that a link leads where it was to lead."""

        def work(connection: Connection) -> None:
            _delete(connection, wanted, is_next=False)
            if wanted.directory is None:
                _delete(connection, wanted, is_next=True)
            else:
                connection.execute(
                    "UPDATE active SET is_next = 0 WHERE is_next = 1 AND root = ?"
                    " AND checkpoint = ?",
                    _key(wanted),
                )

        await self._database.run(work)
        self._next.pop(_key(wanted), None)
        if wanted.directory is None:
            self._now.pop(_key(wanted), None)
        else:
            self._now[_key(wanted)] = wanted
        self._note_places()

    async def give_up(self, wanted: ActiveVersion) -> None:
        """Write down that a link stays as it is, whatever was intended."""
        await self._database.run(lambda connection: _delete(connection, wanted, is_next=True))
        self._next.pop(_key(wanted), None)
        self._note_places()


def _key(row: ActiveVersion) -> _Key:
    return (row.root, row.checkpoint)


def _write(connection: Connection, wanted: ActiveVersion) -> None:
    _delete(connection, wanted, is_next=True)
    connection.execute("INSERT INTO active VALUES (1, ?, ?, ?, ?, ?, ?, ?)", wanted)


def _delete(connection: Connection, row: ActiveVersion, *, is_next: bool) -> None:
    connection.execute(
        "DELETE FROM active WHERE is_next = ? AND root = ? AND checkpoint = ?",
        (is_next, *_key(row)),
    )
