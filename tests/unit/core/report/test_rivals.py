"""Several contents of one version, for a person."""

from __future__ import annotations

from ckptd.core.report.rivals import Rival, conflict_message
from ckptd.limits import MIB
from ckptd.model.ids import Digest, Version
from tests.support.scheduling import LLAMA, A, B, C

ONE, OTHER = Digest("0a" * 32), Digest("0b" * 32)


def test_each_content_is_named_with_who_has_it_and_how_to_choose_it() -> None:
    rivals = [Rival(ONE, 5 * MIB, (A, B)), Rival(OTHER, 3, (C,), ("c0ffee",), is_trusted=True)]
    assert conflict_message(LLAMA, Version(100), rivals) == (
        "llama/rank-0@100 has 2 contents: 0a0a0a0a0a0a, 5 MiB, at a, b, not signed; "
        "0b0b0b0b0b0b, 3 B, at c, signed by c0ffee. "
        "Choose one: ckptctl recover llama/rank-0@100 --digest PREFIX, or --from NODE"
    )


def test_what_only_this_node_has_is_here() -> None:
    message = conflict_message(LLAMA, Version(7), [Rival(ONE, 3, (), is_own=True)])
    assert "0a0a0a0a0a0a, 3 B, here, not signed" in message


def test_a_message_names_a_few_of_many_nodes_and_contents() -> None:
    rivals = [Rival(Digest(f"{index:064x}"), 3, (A, B, C, A, B)) for index in range(10)]
    message = conflict_message(LLAMA, Version(7), rivals)
    assert "at a, b, c and 2 more" in message
    assert message.count("not signed") == 8
    assert "; and 2 more. Choose" in message
