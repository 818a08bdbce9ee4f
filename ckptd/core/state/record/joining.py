"""How far a recovery of a job knows the shards of a version, and what it joined."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptd.core.report.rivals import Rival
from ckptd.core.state.job_claims import Layout
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, PathId
from ckptd.model.joint import Joint


class KnownShard(NamedTuple):
    """What the manifest of a shard's content says, as far as it matters for what is whole.

    Attributes:
        block_count: How many blocks it has.
        optional: Those of optional units.
    """

    block_count: int
    optional: BlockSet


@dataclass(slots=True)
class Attempt:
    """The manifests of all shards of a version are collected.

    Attributes:
        layout: Of which version.
        contents: Of each shard, by number, the contents that are whole as is claimed.
        wanted: Contents whose manifest is not here, with the number of the shard.
        queues: Of each source what it can be asked for; ``None`` is this node.
        late_ns: From when on others are asked, too, for what a source was asked for that has not
            answered.
        begun_ns: When the manifests were asked for first.
        rests_ns: Until when a source is not asked again that did not deliver.
        give_way_at_ns: When another version is tried if no manifest came by then.
        why: Why this version, for a person.
        is_reliable: It is whole by peers that did not lead the recovery astray.
    """

    layout: Layout
    contents: dict[int, list[Digest]]
    wanted: dict[Digest, int] = field(default_factory=dict)
    queues: dict[PathId | None, deque[Digest]] = field(default_factory=dict)
    late_ns: dict[PathId | None, int] = field(default_factory=dict)
    begun_ns: int = 0
    rests_ns: dict[PathId | None, int] = field(default_factory=dict)
    give_way_at_ns: int = 0
    why: str = ""
    is_reliable: bool = True


class Failed(NamedTuple):
    """A version that is not whole though it looked so.

    Attributes:
        why: Which shard, and why.
        until_ns: It is not tried again before …
        returns: … unless a peer is lost or found.
    """

    why: str
    until_ns: int
    returns: int


class Dispute(NamedTuple):
    """Several contents of one shard are genuine, and a person has to choose.

    Attributes:
        revision: With which claims that was so.
        message: The sentence for a person.
        rivals: The contents.
    """

    revision: int
    message: str
    rivals: Sequence[Rival]


@dataclass(slots=True)
class Joining:
    """The shards of a recovery of a job.

    Attributes:
        attempt: The version whose manifests are collected; ``None``: none is.
        known: The contents of shards whose manifests came and are right, whatever the version.
        failed: Versions that are not whole though it looked so.
        dispute: What a person has to choose from.
        joint: What was joined; ``None``: nothing is yet.
        settles_ns: Nothing is placed before this moment: others that began meanwhile are heard.
        lacking: What the newest versions lacked when one was looked for last, for a person.
        due_ns: When it is to be looked at though nothing happened.
        seen_revision: With which claims a version was looked for last.
        look_again_ns: It is looked for again at this moment, whatever the claims.
        is_giving_way: Another version is gone over to once nothing is under way.
    """

    attempt: Attempt | None = None
    known: dict[Digest, KnownShard] = field(default_factory=dict)
    failed: dict[Layout, Failed] = field(default_factory=dict)
    dispute: Dispute | None = None
    joint: Joint | None = None
    settles_ns: int = 0
    lacking: str = ""
    due_ns: int | None = None
    seen_revision: int = -1
    look_again_ns: int = 0
    is_giving_way: bool = False

    def is_settled_at(self, now: int) -> bool:
        """Return whether what is complete may be placed: no other version is looked at."""
        return now >= self.settles_ns and self.attempt is None
