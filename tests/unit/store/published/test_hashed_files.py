"""What hashing gives, in columns."""

from __future__ import annotations

from ckptd.model.manifest import DIGEST_OF_NOTHING, Unit
from ckptd.model.policy.assignment import Assignment, UnitWords
from ckptd.model.words import Criticality
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.published.candidates import Candidates
from ckptd.store.published.hashed_files import HashedFiles

KIB = 1024


def test_units_come_in_urgency_order_whatever_was_hashed_first() -> None:
    found = Candidates("v1")
    found.add("b", 300 * KIB)
    found.add("c", 3)
    found.follow("elsewhere")
    found.add("a", 0)
    kinds = (
        UnitWords(1, is_optional=True, after=(1, 2)),
        UnitWords(0, Criticality.CRITICAL),
        UnitWords(1),
    )
    found.describe(Assignment(("core", "rest"), kinds, (0, 1, 2)))
    hashed = HashedFiles(found)
    facts = [Fingerprint(1, number, size, -5, 6) for number, size in enumerate((300 * KIB, 3, 0))]
    two = bytes(range(64))
    hashed.take(found[2], facts[2], 0o100644, (DIGEST_OF_NOTHING, b""))
    hashed.take(found[0], facts[0], 0o104755, (b"w" * 32, two))
    hashed.take(found[1], facts[1], 0o100400, (b"c" * 32, b"c" * 32))

    def unit(path: str, size: int, digests: tuple[bytes, bytes], **more: object) -> Unit:
        return Unit(
            path=path,
            size_bytes=size,
            digest=digests[0],
            block_size_bytes=256 * KIB,
            block_digests=digests[1],
            **more,  # type: ignore[arg-type]
        )

    assert list(hashed.units()) == [
        unit("c", 3, (b"c" * 32, b"c" * 32), criticality=Criticality.CRITICAL),
        unit("a", 0, (DIGEST_OF_NOTHING, b""), phase=1),
        unit(
            "b",
            300 * KIB,
            (b"w" * 32, two),
            phase=1,
            is_executable=True,
            after=(0, 1),
            flags=("optional",),
        ),
    ]
    assert list(hashed.files) == [
        UnitFile(facts[1]),
        UnitFile(facts[2], "elsewhere"),
        UnitFile(facts[0]),
    ]
    assert list(hashed.modes) == [0o400, 0o644, 0o755]


def test_types_are_facts_of_those_units_alone_of_which_they_are_said() -> None:
    found = Candidates("v1")
    for path in ("a", "b"):
        found.add(path, 3)
    hashed = HashedFiles(found)
    for number in (1, 0):
        facts = Fingerprint(1, number, 3, 5, 6)
        said = ("", "BF16")[number]
        hashed.take(found[number], facts, 0o100644, (b"w" * 32, b"w" * 32), said)
    assert [unit.facts for unit in hashed.units()] == [{}, {"dtype": "BF16"}]
