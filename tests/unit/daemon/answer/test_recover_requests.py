"""What is checked of a request before a recovery begins."""

from __future__ import annotations

import pytest

from ckptd.core.report.rivals import Rival
from ckptd.daemon.answer.recover_requests import check_prefix
from ckptd.errors import Conflict, Missing
from ckptd.model.ids import Digest


def test_the_beginning_of_a_digest_must_mean_one_content() -> None:
    rivals = [Rival(Digest(f"0a0a0a0a{number:056x}"), 1, ()) for number in range(2)]
    check_prefix(rivals[0].digest, rivals)
    check_prefix("0a0a0a0a", rivals[:1])
    with pytest.raises(Conflict, match=r"content 0a0a0a0a: may be any of 2\. Give more digits"):
        check_prefix("0a0a0a0a", rivals)
    with pytest.raises(Missing, match=r"content 0b0b0b0b: is not known; there are 0a0a0a0a0000"):
        check_prefix("0b0b0b0b", rivals)


def test_nothing_is_refused_while_no_content_is_known() -> None:
    check_prefix("0a0a0a0a", [])
