"""What is held against a source, and for it: everything that blame decides on.

It belongs to an *origin*: who proved a node id, or, without certificates, a configured address. All
paths of one origin share it, and it outlives the source's epochs, restarts and stated ids: else
whoever is blamed could start over. How fast a source answers is no part of it; that is its
:mod:`link <.link>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.options import Options, TrustOptions
from ckptd.core.report.evidence import Evidence
from ckptd.core.state.doubts import Doubts
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Epoch
from ckptd.model.words import Confirmation


@dataclass(slots=True)
class Standing:
    """How a source stands with this node.

    Attributes:
        trust: Score of its honesty.
        quarantines: How often it was put into quarantine.
        began_quarantine_ns: When it was put there last; -1: never.
        quarantined_until_ns: Distrusted up to this moment.
        questioned: Versions of which it is asked whether it stands by some blocks that were
            bad, and which blocks. Not asked for ranges of these meanwhile.
        doubts: What came of bad blocks, by version.
        evidence: What it sent wrongly.
        epoch: The last life of it that was heard of; ``None``: none was.
    """

    trust: int = 0
    quarantines: int = 0
    began_quarantine_ns: int = -1
    quarantined_until_ns: int = 0
    questioned: dict[Digest, BlockSet] = field(default_factory=dict)
    doubts: dict[Digest, Doubts] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    epoch: Epoch | None = None

    @property
    def is_clean(self) -> bool:
        """Nothing was ever held against it."""
        return not (self.quarantines or self.doubts or self.evidence.bad_block_count)

    def is_distrusted(self, options: TrustOptions, *, now: int) -> bool:
        """Return whether it is in quarantine, or sent bad blocks of a version too often."""
        is_quarantined = self.quarantined_until_ns > now
        return is_quarantined or any(each.is_spent(options) for each in self.doubts.values())

    def begin_life(self, epoch: Epoch) -> None:
        """Note which life of the source answers. What it was asked in another one has no answer."""
        if self.epoch not in {None, epoch}:
            self.questioned.clear()
            self.evidence.settle(Confirmation.NO_ANSWER)
            for doubts in self.doubts.values():
                doubts.begin_life()
        self.epoch = epoch

    def vouch(self, options: Options) -> None:
        """Note a range of which every block was right."""
        self.trust = min(self.trust + 1, options.trust.most)

    def blame(self, trust_lost: int, options: Options, *, now: int) -> None:
        """Take trust from a source; at the end of it, leave the source alone for a while.

        What it sends in quarantine was asked for before, and lengthens nothing.
        """
        if now < self.quarantined_until_ns:
            return
        self.trust -= trust_lost
        if self.trust <= options.trust.quarantine_at:
            pause = options.trust.quarantine_ns << min(self.quarantines, 10)
            self.quarantines += 1
            self.began_quarantine_ns = now
            self.trust = 0
            self.quarantined_until_ns = now + pause
