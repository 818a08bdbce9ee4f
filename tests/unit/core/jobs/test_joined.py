"""What comes of joining manifests."""

from __future__ import annotations

from ckptd.core.effects import ENDS, JoinManifests
from ckptd.core.events import JoinRefused, ManifestsJoined
from ckptd.core.jobs.joined import HANDLERS


def test_an_order_to_join_ends_with_what_came_of_it() -> None:
    assert ENDS[JoinManifests] == {ManifestsJoined, JoinRefused}
    assert {handler.event for handler in HANDLERS} == ENDS[JoinManifests]
