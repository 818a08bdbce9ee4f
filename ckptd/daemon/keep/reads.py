"""What was read again, and why: counted in one place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ckptd.errors import CkptdError
from ckptd.model.words import ReadReason
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, counter, counters
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.unit_files import FilesByUnit
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Checked
from ckptd.store.published.places import HeldVersion, Place

_log = get_logger()


class Reads:
    """Counts what was read again, and lets the catalog know what it showed.

    Args:
        catalog: Learns it.

    Attributes:
        bytes_by_reason: Bytes that were read again, since the start.
        changed_units: Units whose content was found to be another one, or gone.
        rotten_units: Those of them whose files looked as if nothing had happened.
        on_rotten: Called with the number of a place when such a unit was found there.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.bytes_by_reason: Counter[ReadReason] = Counter()
        self.changed_units = 0
        self.rotten_units = 0
        self.on_rotten: Callable[[int], None] = lambda number: None
        self._catalog = catalog

    def note_question(self, size_bytes: int) -> None:
        """Count bytes that were read because a receiver said that they were bad."""
        self.bytes_by_reason[ReadReason.QUESTION] += size_bytes

    async def take_in(
        self,
        reason: ReadReason,
        held: HeldVersion,
        place: Place,
        hashed: HashedDirectory,
        checked: Checked,
    ) -> None:
        """Take in what hashing units of a place again has shown.

        Args:
            reason: Why they were hashed.
            held: The version.
            place: Where it stands, as it was known before.
            hashed: What was recorded there.
            checked: What was found.

        Raises:
            StorageError: It could not be written down; it counts until the daemon ends.
        """
        self.bytes_by_reason[reason] += checked.read_bytes
        wrong = place.suspect | place.changed
        files = await asyncio.to_thread(_to_record, wrong, hashed, checked)
        if files.keys() & wrong:
            _log.info("version.right", **_facts(held, place), units=len(files.keys() & wrong))
        changed = await self._of_what_is_recorded(place.number, hashed, checked.changed)
        self.note_changed(held, place, changed, checked.rotten)
        if files or changed:
            await self._catalog.settle(place.number, files, changed)

    async def _of_what_is_recorded(
        self, number: int, hashed: HashedDirectory, changed: Mapping[int, str]
    ) -> Mapping[int, str]:
        """Leave out units whose other file was read: they came to be kept compressed meanwhile."""
        if not changed:
            return changed
        try:
            files = (await self._catalog.hashed(number)).files
        except CkptdError:  # it was forgotten meanwhile, or is damaged, which the catalog says
            return changed
        return {
            unit: why
            for unit, why in changed.items()
            if files.is_compressed(unit) == hashed.files.is_compressed(unit)
        }

    def note_changed(
        self,
        held: HeldVersion,
        place: Place,
        changed: Mapping[int, str],
        rotten: Collection[int] = (),
    ) -> None:
        """Count units that are not what was published, and say so, unless that is known.

        Args:
            held: The version.
            place: Where it stands, as it was known before.
            changed: Which units, each with a sentence for people.
            rotten: Those whose files look as if nothing had happened.
        """
        new = changed.keys() - place.changed
        if not new:
            return
        rotten = new & set(rotten)
        self.changed_units += len(new)
        self.rotten_units += len(rotten)
        facts, why = _facts(held, place), changed[min(rotten or new)]
        if rotten:
            _log.warning("version.rotten", **facts, units=len(rotten), why=why)
            self.on_rotten(place.number)
        else:
            _log.warning("version.stale", **facts, units=len(new), why=why)


def _to_record(
    wrong: Collection[int], hashed: HashedDirectory, checked: Checked
) -> Mapping[int, UnitFile]:
    """Return the files that are right, and not as they are recorded or known. Blocks."""
    return FilesByUnit.of(
        (unit, file)
        for unit, file in checked.files.items()
        if unit in wrong or file != hashed.files[unit]
    )


def note_wrong_names(held: HeldVersion, place: Place, names: Mapping[str, str]) -> None:
    """Say that links or empty directories are not what they should be, or are again.

    Args:
        held: The version.
        place: Where it stands, as it was known before.
        names: What is wrong by now, each with a sentence for people.
    """
    if new := names.keys() - place.wrong_names.keys():
        _log.warning("version.stale", **_facts(held, place), names=len(new), why=names[min(new)])
    elif not names:
        _log.info("version.right", **_facts(held, place), names=len(place.wrong_names))


def note_suspect(held: HeldVersion, place: Place, suspect: Mapping[int, str]) -> None:
    """Say that units look different.

    Args:
        held: The version.
        place: Where it stands.
        suspect: Which units, each with a sentence for people.
    """
    why = suspect[min(suspect)]
    _log.info("version.suspect", **_facts(held, place), units=len(suspect), why=why)


def note_appeared(held: HeldVersion, place: Place, names: Sequence[str]) -> None:
    """Say that files came to a directory after it was published.

    Args:
        held: The version.
        place: Where it stands.
        names: Some of them, relative to the root.
    """
    _log.warning("version.appeared", **_facts(held, place), names=",".join(names))


def _facts(held: HeldVersion, place: Place) -> dict[str, object]:
    holding = held.holding
    return {
        "checkpoint": holding.checkpoint,
        "version": holding.version,
        "digest": holding.digest,
        "root": place.root,
        "directory": place.directory,
    }


READ_METRICS: Final[Sequence[MetricRow[Reads]]] = (
    counters(
        "reread_bytes",
        "Bytes on offer that were read and hashed again.",
        ("reason",),
        lambda reads: {reason.value: count for reason, count in reads.bytes_by_reason.items()},
        (reason.value for reason in ReadReason),
    ),
    counter(
        "changed_units",
        "Units on offer that were found to be not what was published, or gone.",
        lambda reads: reads.changed_units,
    ),
    counter(
        "rotten_units",
        "Those of them whose files looked as if nothing had happened: bit rot.",
        lambda reads: reads.rotten_units,
    ),
)
