"""What is held against a source, and for it: everything that blame decides on.

How fast and how well a source answers is no part of it; that is its :mod:`link <.link>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.options import Options
from ckptd.core.report.evidence import Evidence
from ckptd.core.state.doubts import Doubts
from ckptd.model.ids import Digest


@dataclass(slots=True)
class Standing:
    """How a source stands with this node.

    Attributes:
        trust: Score of its honesty.
        quarantines: How often it was put into quarantine.
        began_quarantine_ns: When it was put there last; -1: never.
        quarantined_until_ns: Distrusted up to this moment.
        doubts: What came of bad blocks, by version.
        evidence: What it sent wrongly.
    """

    trust: int = 0
    quarantines: int = 0
    began_quarantine_ns: int = -1
    quarantined_until_ns: int = 0
    doubts: dict[Digest, Doubts] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)

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
