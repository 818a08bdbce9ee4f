"""Who was asked for the manifest of a version, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.options import ManifestOptions
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Origin, PathId


@dataclass(slots=True)
class Claimant:
    """What came of the claims of one origin to have versions, as far as manifests were asked for.

    Attributes:
        failed: Versions of which the manifest was wrong or no manifest, or did not come in time.
        unsuited: … of which it was not signed as this node requires, too new, or not there.
    """

    failed: set[Digest] = field(default_factory=set)
    unsuited: set[Digest] = field(default_factory=set)

    def has_missed(self, digest: Digest) -> bool:
        """Return whether its claim to a version does not count while there are others."""
        return digest in self.failed or digest in self.unsuited

    def is_spent(self, options: ManifestOptions) -> bool:
        """Return whether none of its claims counts any more: it had its chances."""
        is_refuted = len(self.failed) >= options.failed_max
        return is_refuted or len(self.unsuited) >= options.unsuited_max


@dataclass(slots=True)
class ManifestSearch:
    """The search for a manifest.

    Attributes:
        asked: Who was asked and has not answered, with the digest; ``None`` is this node.
        dropped: Those of them whose answer is not waited for any more.
        asked_ns: When somebody was asked for the chosen version first; ``None``: nobody was.
        ask_again_at_ns: One more source is asked at this moment.
        give_way_at_ns: From this moment on another version is chosen if there is one.
        is_away: When that moment came last, nobody who has the chosen version answered.
        given_way: How many versions were given up because their manifests did not come.
        replaced: How many sources were asked in the place of one that did not answer.
        tried: Sources that did not deliver it, since the last pause.
        rounds: How often all who have it were asked without success.
        rests_until_ns: Nobody whose claims do not count is asked before this moment.
        claimants: What came of the claims of each origin so far, whatever the version.
        own_missed: Versions of which this node has no manifest that can be used, or not the
            blocks that it was said to have.
        unsigned_by: Sources whose manifest was refused for its signatures.
        unsigned: Versions that nobody could deliver with signatures that suffice.
        signature_refusal: Why the last of them was refused; empty if none was.
        unchosen: Of versions whose manifests were seen: the blocks that are not wanted of them.
            Only of a recovery that does not want all units.
    """

    asked: dict[PathId | None, Digest] = field(default_factory=dict)
    dropped: set[PathId] = field(default_factory=set)
    asked_ns: int | None = None
    ask_again_at_ns: int | None = None
    give_way_at_ns: int | None = None
    is_away: bool = False
    given_way: int = 0
    replaced: int = 0
    tried: set[PathId] = field(default_factory=set)
    rounds: int = 0
    rests_until_ns: int = 0
    claimants: dict[Origin, Claimant] = field(default_factory=dict)
    own_missed: set[Digest] = field(default_factory=set)
    unsigned_by: set[PathId] = field(default_factory=set)
    unsigned: set[Digest] = field(default_factory=set)
    signature_refusal: str = ""
    unchosen: dict[Digest, BlockSet] = field(default_factory=dict)

    def claimant(self, origin: Origin) -> Claimant:
        """Return what came of the claims of an origin, to add to it."""
        return self.claimants.setdefault(origin, Claimant())

    def is_awaited(self, digest: Digest | None) -> bool:
        """Return whether somebody was asked for a manifest whose answer is still waited for."""
        return any(
            asked == digest and path not in self.dropped for path, asked in self.asked.items()
        )

    def take_answer(self, source: PathId | None) -> tuple[Digest, bool]:
        """Note that a question is answered; return what it was for, and whether it was dropped."""
        digest, was_dropped = self.asked.pop(source), source in self.dropped
        if source is not None:
            self.dropped.discard(source)
        return digest, was_dropped

    def start_over(self) -> None:
        """Forget what was for one version alone."""
        self.asked_ns = self.give_way_at_ns = None
        self.is_away = False
        self.rounds = self.replaced = 0
        self.tried.clear()
        self.unsigned_by.clear()
