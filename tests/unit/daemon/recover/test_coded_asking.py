"""Which sources are asked for coded blocks, against which bases, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.core.report.learned_rate import LearnedRate
from ckptd.daemon.recover import coded_asking
from ckptd.daemon.recover.coded_asking import CodedAsking
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest, PathId, RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.words import RateOrigin
from ckptd.net.lane.lane import AskedRange
from ckptd.store.files.roots import Root
from ckptd.traffic.coding_choice import MEASURED_BYTES_MIN, BodyNote
from ckptd.wire.byte_ranges import ByteRange
from tests.support.manifests import make_manifest
from tests.support.stores import journaled

SOURCE = PathId("node-b")
NEW, OLD, OTHER = (Digest(letter * 64) for letter in "abc")
SPACE = AddressSpace(make_manifest({"a": b"1"}))
ASKED = AskedRange(NEW, ByteRange(0, MIB), 64 * MIB, BlockRun(0, 1))


def test_who_codes_is_asked_for_differences_from_what_both_have(root: Root) -> None:
    recovery = OpenRecovery(journaled(RecoveryId("r-1"), root=root.name), root, "", 0)
    bases = [
        SimpleNamespace(digest=digest, serves=lambda space, blocks: True) for digest in (OLD, OTHER)
    ]
    recovery.bases = {NEW: cast("Any", tuple(bases))}
    recovery.space = SPACE
    asking = CodedAsking(lambda source, digest: digest == OLD, lambda: 0, is_on=True)
    assert asking.why_of_all(recovery) == {}
    assert asking.ask(SOURCE, ASKED, recovery) is None
    note = asking.note_of(SOURCE, recovery)
    assert note is not None
    note(BodyNote(False, True, MEASURED_BYTES_MIN, MEASURED_BYTES_MIN, SECOND))
    assert asking.why_of_all(recovery) == {SOURCE: "not coded: not measured yet"}
    asked = asking.ask(SOURCE, ASKED, recovery)
    assert asked is not None
    assert [base.digest for base in asked.bases] == [OLD]
    seen: list[object] = []
    bases[0].serves = lambda *where: seen.append(where)  # what lies there is not here
    asked = asking.ask(SOURCE, ASKED, recovery)
    assert asked is not None
    assert asked.bases == ()
    assert seen == [(SPACE, ASKED.blocks)]
    note(BodyNote(True, True, MIB, 1000, SECOND))
    assert asking.came == (MIB, 1000)
    assert asking.why_of_all(recovery) == {
        SOURCE: "not coded: some ranges were asked for coded, too few to compare"
    }
    assert asking.why_off == ""


def test_who_does_not_want_it_asks_nobody_and_measures_nothing(root: Root) -> None:
    recovery = OpenRecovery(journaled(RecoveryId("r-1"), root=root.name), root, "", 0)
    asking = CodedAsking(lambda source, digest: True, lambda: 0, is_on=False)
    assert asking.ask(SOURCE, ASKED, recovery) is None
    assert asking.note_of(SOURCE, recovery) is None
    assert not recovery.coding
    assert asking.why_off == "not coded: switched off here, by [transport] coding"


def test_who_cannot_load_what_decodes_asks_nobody_and_says_so(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery = OpenRecovery(journaled(RecoveryId("r-1"), root=root.name), root, "", 0)
    monkeypatch.setattr(coded_asking, "can_code", lambda: False)
    asking = CodedAsking(lambda source, digest: True, lambda: 0, is_on=True)
    note = asking.note_of(SOURCE, recovery)
    assert note is not None
    note(BodyNote(False, True, MEASURED_BYTES_MIN, MEASURED_BYTES_MIN, SECOND))
    assert asking.ask(SOURCE, ASKED, recovery) is None
    assert asking.why_of_all(recovery) == {SOURCE: asking.why_off}
    assert asking.why_off == "not coded: what decodes cannot be loaded here"


def test_what_came_coded_is_expected_so_again_and_remembered_as_if_it_were_plain(
    root: Root,
) -> None:
    recovery = OpenRecovery(journaled(RecoveryId("r-1"), root=root.name), root, "", 0)
    recovery.bases = {NEW: cast("Any", (SimpleNamespace(digest=OLD),))}
    moments = iter(range(10 * SECOND, 100 * SECOND, SECOND))
    asking = CodedAsking(lambda _, digest: digest == OLD, lambda: next(moments), is_on=True)
    note = asking.note_of(SOURCE, recovery)
    assert note is not None
    size = MEASURED_BYTES_MIN
    for is_coded, sent_bytes, times in ((False, size, 1), (True, size // 8, 4)):
        for _ in range(times):
            note(BodyNote(is_coded, True, size, sent_bytes, SECOND // (4 if is_coded else 1)))
    name = recovery.record.checkpoint
    assert asking.factors(name, recovery.base_digests) == {}
    assert asking.factors(name, (OTHER,)) == {SOURCE: 1 / 4}
    expected = asking.expected(SOURCE, name, (OLD,))
    assert expected is not None
    assert (expected.gain, expected.share) == (4.0, 1 / 8)
    assert asking.expected(SOURCE, name, ()) is None
    rates = {
        PathId(f"{SOURCE}{end}"): LearnedRate(8e6, None, 0, origin)
        for end, origin in (("", RateOrigin.RECOVERY), (" via x", RateOrigin.DOCTOR))
    }
    assert [rate.bytes_per_s for rate in asking.as_plain(rates).values()] == [2e6, 8e6]
