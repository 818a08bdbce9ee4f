from ckptd.daemon.keep.reads import READ_METRICS, Reads
from ckptd.model.words import PlaceState, ReadReason
from ckptd.store.published.checking import Checked
from tests.unit.daemon.keep.conftest import Held


async def take_in(reads: Reads, held: Held, checked: Checked) -> None:
    known = held.catalog.held(held.digest)
    assert known
    await reads.take_in(ReadReason.SCRUB, known, held.place, held.hashed, checked)


async def test_what_is_right_and_known_is_only_counted(reads: Reads, held: Held) -> None:
    before = held.place
    files = {unit: file for unit, file in enumerate(held.hashed.files) if file}
    await take_in(reads, held, Checked(files, {}, {}, set(), 70))
    assert held.place is before
    assert reads.bytes_by_reason == {ReadReason.SCRUB: 70}
    assert (reads.changed_units, reads.rotten_units) == (0, 0)


async def test_suspect_units_that_are_right_are_served_again(reads: Reads, held: Held) -> None:
    held.suspect("weights.bin", "empty")
    weights = held.units["weights.bin"]
    file = held.hashed.files[weights]
    assert file
    await take_in(reads, held, Checked({weights: file}, {}, {}, set(), 1))
    assert held.place.suspect == {held.units["empty"]}


async def test_what_has_changed_is_counted_once(reads: Reads, held: Held) -> None:
    weights, empty = held.units["weights.bin"], held.units["empty"]
    found = Checked({}, {weights: "it is different", empty: "was removed"}, {}, {weights}, 1)
    for _ in range(2):
        await take_in(reads, held, found)
    assert held.place.changed == {weights, empty}
    assert held.place.state is PlaceState.STALE
    assert (reads.changed_units, reads.rotten_units) == (2, 1)


async def test_a_unit_that_came_to_be_kept_compressed_meanwhile_has_not_changed(
    reads: Reads, held: Held
) -> None:
    """Its other file was read, which is gone by now."""
    weights, empty = held.units["weights.bin"], held.units["empty"]
    file = held.hashed.files[weights]
    assert file
    kept = file._replace(plain_bytes=2 * file.fingerprint.size_bytes)
    await held.catalog.settle(held.place.number, {weights: kept}, {})
    found = Checked({}, {weights: "was removed", empty: "was removed"}, {}, set(), 1)
    await take_in(reads, held, found)
    assert held.place.changed == {empty}
    assert reads.changed_units == 1


def test_what_a_question_costs_is_counted(reads: Reads) -> None:
    reads.note_question(3)
    reads.note_question(4)
    assert reads.bytes_by_reason == {ReadReason.QUESTION: 7}


def test_every_reason_is_on_the_page_from_the_start(reads: Reads) -> None:
    family = READ_METRICS[0].family(reads)
    assert {sample.labels["reason"] for sample in family.samples} == {
        reason.value for reason in ReadReason
    }
