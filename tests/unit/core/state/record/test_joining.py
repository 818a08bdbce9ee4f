"""When a joined version may be placed."""

from __future__ import annotations

from ckptd.core.state.job_claims import Layout
from ckptd.core.state.record.joining import Attempt, Joining
from ckptd.model.ids import Version


def test_what_is_complete_is_placed_once_others_were_heard_and_no_other_version_is_looked_at() -> (
    None
):
    joining = Joining(settles_ns=10)
    assert not joining.is_settled_at(9)
    assert joining.is_settled_at(10)
    joining.attempt = Attempt(Layout(Version(1), 1), {})
    assert not joining.is_settled_at(10)
