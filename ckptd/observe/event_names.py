"""The names of all events, and how many of a kind are written.

An event is one change of state. Its name is stable: scripts and alerts may look for it. It is
written to the log and, from level ``info`` on, kept for ``ckptctl events``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EVENTS: Final = {
    "attributes.made": "modes and times of what was published before they were kept are known now",
    "attributes.missing": "a version was placed and nobody has its modes and times: it is private",
    "attributes.not_kept": "modes and times of a version could not be written down",
    "attributes.not_made": "they could not be found out; publish the version again",
    "attributes.refused": "a source's modes and times are none, or nobody trusted signed them",
    "audit.failed": "a peer has not what it claims of a version; why says what came of it",
    "audit.passed": "a peer whose audit failed shows that it has the version",
    "audit.not_kept": "what came of audits could not be written down; a restart audits again",
    "certificate.outside_its_time": "no peer takes this node's certificate now; why says more",
    "certificate.valid": "this node's certificate is valid again by this node's clock",
    "config.refused": "a changed configuration could not be taken over; the old one stays",
    "config.reloaded": "a changed configuration was taken over, but for what needs a restart",
    "caller.needed": "a job needs a unit; uid and user say whose it is",
    "caller.ordered": "somebody ordered something; uid and user say who, verb what",
    "caller.refused": "somebody ordered something without the role that it needs",
    "copies.begun": "a copy for others is being made; why says what for",
    "copies.compressed": "units of a copy are kept compressed from now on, bytes as they were",
    "copies.failed": "a copy could not be made; why says more, and it is tried again",
    "copies.given_back": "a copy was removed: there are enough others, or newer ones",
    "copies.given_up": "a copy that was being made is not wanted any more",
    "copies.hindered": "nothing is decided about copies; why says more",
    "copies.kept": "a copy that is too much stays for now; why says more",
    "copies.made": "a copy for others is here, and on offer",
    "copies.not_compressed": "a unit of a copy, or all of a place, stays as it is; why says more",
    "critical.complete": "all critical units of a recovery are durable, those of all phases",
    "daemon.confined": "the kernel keeps it from writing outside its directories",
    "daemon.listening": "the listeners are open; data, metrics and control say where",
    "daemon.not_confined": "it can write wherever its user can; why, and how to change that",
    "daemon.stopping": "it was told to stop and finishes what it serves",
    "daemon.stopped": "it has ended in good order",
    "durations.not_kept": "how long recoveries have been under way could not be written down",
    "limits.changed": "other limits count; why says who wanted that",
    "log.level_changed": "somebody changed the level, or the time for which it was changed is over",
    "manifest.missed": "a manifest did not come; another source is asked",
    "manifest.refused": "a manifest is not what its source advertises, or nobody trusted signed it",
    "moments.not_kept": "when things last went well could not be written down for the next start",
    "node.short": "this node is short of something that must be done; it is done when that ends",
    "peer.delta_unfit": "a peer told of changes that do not fit; it is asked for everything",
    "peer.found": "a peer answers",
    "peer.lost": "a peer does not answer any more, or is not who it seems; why says more",
    "phase.complete": "all that is wanted of a phase of a recovery is durable",
    "phase.placed": "what is wanted of a phase stands under its final names",
    "rates.not_kept": "how fast peers deliver could not be written down for the next start",
    "recovery.configured": "the daemon asked for a recovery: [[recover]] names it; at says when",
    "recovery.ended": "how a recovery ended, and what it moved",
    "recovery.members_lost": "what a recovery of a job had joined is damaged; it is fetched again",
    "recovery.moving": "a recovery that waited goes on",
    "recovery.needless": "what [[recover]] names came otherwise: its recovery is given up",
    "recovery.not_followed": "the rest of a version is left to another recovery to its place",
    "recovery.rest_wanted": "a recovery on demand brings all of it: somebody asked for it again",
    "recovery.promoted": "a recovery left the background: somebody asked for it again",
    "recovery.resumed": "a restart goes on with a recovery",
    "recovery.stage": "a recovery is in another stage",
    "recovery.started": "somebody asked for a recovery",
    "recovery.version_chosen": "which version a recovery is for",
    "recovery.unmet": "what [[recover]] names did not come; why says more",
    "recovery.widened": "more units are wanted of a recovery that is under way",
    "recovery.waiting": "a recovery stands still; why says what it waits for",
    "retention.lease_not_kept": "a reader of a version could not be written down for a restart",
    "retention.not_removed": "a version that may go could not be removed; why says more",
    "retention.removed": "retention removed a version with its files; why says by which rule",
    "retention.short": "less is free than [retention] min_free, and nothing more may go",
    "retention.enough": "as much is free as [retention] min_free asks for again",
    "rival.examined": "a peer was asked for a block of one of several contents of a version",
    "root.unusable": "a root is gone, not writable or silent; nothing is recovered into it",
    "root.usable": "a root can be used again",
    "source.bad_block": "a source that sent a bad block was asked whether it stands by it",
    "staging.copy_failed": "copying what lies on this node failed as nobody foresaw: a bug",
    "staging.not_discarded": "what a recovery left could not be removed",
    "staging.orphan_removed": "what a recovery left that no journal knows was removed",
    "state.moved_aside": "the state database could not be read and was put aside",
    "transport.insecure": "the data listener has no TLS",
    "version.activated": "the link of a checkpoint leads to a version; link says which",
    "version.adopted": "a version became a shard of a job without being hashed again",
    "version.deactivated": "the link of a checkpoint was taken away; left says what has its name",
    "version.forgotten": "the catalog forgot a place of a version; why says who wanted that",
    "version.link_changed": "the link of a checkpoint is not as ckptd made it; why says more",
    "version.materialised": "a full version was made of a delta version and what it stands on",
    "version.not_activated": "a version did not become the active one; why says more",
    "version.not_checked": "files of a version could not be looked at; why says more",
    "version.not_repaired": "putting a version right could not begin; why says more",
    "version.passed_over": "what is recorded of a place cannot be read; nothing is taken from it",
    "version.appeared": "files came to a directory after it was published; they are no part of it",
    "version.conflict": "nodes hold several contents of one version: somebody has to choose",
    "version.published": "a directory was published",
    "version.removed": "a version was removed from a place with its files",
    "recovery.withdrawn": "what a cancelled recovery had placed by phases was taken away again",
    "recovery.not_withdrawn": "… and some of it could not be, or was changed since",
    "version.repaired": "files of a version were put right where it stands",
    "version.right": "files that looked different were hashed; they are what was published",
    "version.rotten": "files look untouched and are not what was published: bit rot; not served",
    "version.stale": "files of a version are not what was published; they are not served",
    "version.suspect": "files of a version look different; they are hashed before they are served",
    "version.withheld": "files that were passed are closed by a restart; off offer until published",
    "version.withdrawn": "an operator took a version off offer",
    "watch.blind": "a watched directory cannot be looked into; why says more",
    "watch.gone": "a save that was taken was rotated away: its version is not on offer any more",
    "watch.not_taken": "a save in a watched directory is not published; why says more",
    "watch.taken": "a save in a watched directory was published",
    "watch.waits": "a save in a watched directory is not complete or quiet yet; why says more",
    "watchdog.withheld": "the service manager gets no sign of life; why says more",
    "workload.not_kept": "what was measured of saves could not be written down for the next start",
    # Records of libraries, and of modules that do not know this package.
    "library.complained": "a library logged a warning",
}
"""Every name that is logged, and what it means."""

BURST: Final = 50
"""So many lines of one name are written at once ..."""
PER_S: Final = 1.0
"""... and so many a second after that. A peer can make a daemon say something with every
request; a journal of 50 + 60 lines a minute for each name is still read by somebody."""

SUPPRESSED_NAMES_MAX: Final = 256
"""Names that are counted; there are not so many modules and events."""


@dataclass(slots=True)
class _Allowance:
    tokens: float
    at_s: float
    suppressed: int = 0


class Suppression:
    """Says which lines are too many; one allowance for each name.

    Attributes:
        total: How many lines it has left out.
    """

    def __init__(self, *, burst: int = BURST, per_s: float = PER_S) -> None:
        self.total = 0
        self._burst = burst
        self._per_s = per_s
        self._allowances: dict[str, _Allowance] = {}

    def admit(self, name: str, *, now_s: float) -> int | None:
        """Decide about one line.

        Args:
            name: Its event.
            now_s: The moment, by a clock that never goes back.

        Returns:
            How many of that name were left out since the last one that was written; ``None``
            if this one is left out too.
        """
        if name not in self._allowances and len(self._allowances) >= SUPPRESSED_NAMES_MAX:
            name = ""
        known = self._allowances.setdefault(name, _Allowance(self._burst, now_s))
        known.tokens = min(known.tokens + (now_s - known.at_s) * self._per_s, self._burst)
        known.at_s = now_s
        if known.tokens < 1:
            known.suppressed += 1
            self.total += 1
            return None
        known.tokens -= 1
        suppressed, known.suppressed = known.suppressed, 0
        return suppressed
