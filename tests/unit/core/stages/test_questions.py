"""Questions that are not waited for any more."""

from __future__ import annotations

from ckptd.core.effects import DropManifest
from ckptd.core.stages.questions import drop_question, drop_questions
from tests.support.scenes import TRANSFERRED, known, the
from tests.support.scheduling import A, B, R


def test_each_is_dropped_once_and_none_to_this_node() -> None:
    step = known()
    digest = TRANSFERRED.digest
    the(step).search.asked = {None: digest, A: digest, B: digest}
    drop_question(step, the(step), B, digest)
    assert step.effects == [DropManifest(R, B, digest)]
    drop_questions(step, the(step))
    assert step.effects == [DropManifest(R, B, digest), DropManifest(R, A, digest)]
    assert the(step).search.dropped == {A, B}
    drop_questions(step, the(step))
    assert len(step.effects) == 2
