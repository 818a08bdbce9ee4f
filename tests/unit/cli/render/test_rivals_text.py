"""Several contents that go by one version, as text."""

from __future__ import annotations

import msgspec

from ckptd.cli.render.rivals_text import conflict_lines, rival_warning_lines
from ckptd.control.messages.rivals import RivalRow
from ckptd.limits import GIB
from ckptd.model.words import FailureCause, Result
from tests.support.control_samples import PUBLISH_RESULT, RESULT


def test_contents_among_which_nobody_chose_are_listed_with_how_to_choose() -> None:
    rivals = (
        RivalRow(digest="0a" * 32, size_bytes=2 * GIB, nodes=("n-1", "n-2"), is_own=True),
        RivalRow(digest="0b" * 32, size_bytes=3, nodes=("n-3",), signers=("c0ffee",)),
    )
    failed = msgspec.structs.replace(
        RESULT, result=Result.FAILED, cause=FailureCause.CONFLICT, message="x", rivals=rivals
    )
    assert conflict_lines(failed) == [
        "recovery 01J9QX of llama/rank-0@100 failed: 2 contents go by that version",
        "DIGEST        SIZE   SIGNED BY  HERE  NODES",
        "0a0a0a0a0a0a  2 GiB  nobody     yes   n-1, n-2",
        "0b0b0b0b0b0b  3 B    c0ffee     no    n-3",
        "choose one: ckptctl recover llama/rank-0@100 --digest PREFIX, or --from NODE",
    ]


def test_whoever_publishes_learns_who_has_other_content() -> None:
    assert rival_warning_lines(PUBLISH_RESULT) == []
    rivals = (RivalRow(digest="0b" * 32, size_bytes=3, nodes=("n-3",)),)
    assert rival_warning_lines(msgspec.structs.replace(PUBLISH_RESULT, rivals=rivals)) == [
        "warning: other content goes by llama/rank-0@100 as well; a recovery will have to choose:",
        "DIGEST        SIZE  SIGNED BY  HERE  NODES",
        "0b0b0b0b0b0b  3 B   nobody     no    n-3",
    ]
