"""Every closed vocabulary, once: the words that events, records, answers and metrics share.

Values that are text are stable. They are on the control socket, in the journal, on the metrics
page and in stories, and scripts rely on them. Nothing maps one vocabulary to a twin of it.
"""

from __future__ import annotations

import enum
from typing import Final


class Criticality(enum.IntEnum):
    """How urgent a unit is; a lower number is fetched first."""

    CRITICAL = 0
    NORMAL = 1
    DEFERRED = 2

    @property
    def label(self) -> str:
        """The word people and metrics use."""
        return self.name.lower()


class Urgency(enum.IntEnum):
    """How urgent bytes are on their way: the class of a request; a lower number goes first.

    The first three are :class:`Criticality`; a recovery in the background is less urgent than all
    of them, whatever it fetches.
    """

    CRITICAL = 0
    NORMAL = 1
    DEFERRED = 2
    BACKGROUND = 3

    @classmethod
    def of(cls, criticality: Criticality, *, is_background: bool) -> Urgency:
        """Return the class of a request for a range."""
        return cls.BACKGROUND if is_background else cls(criticality)

    @property
    def label(self) -> str:
        """The word that people, requests and metrics use."""
        return self.name.lower()


class Coder(enum.StrEnum):
    """How a block travels in fewer bytes; the words are those of a request for coded blocks."""

    PLAIN = "plain"
    """As it is; needs not be asked for."""
    ZSTD = "zstd"
    PLANES = "planes"
    """The bytes of its elements side by side, each of them in zstd."""
    DELTA = "delta"
    """Differences of its elements from those of a base, as planes."""
    SPARSE = "sparse"
    """Which elements are not those of a base, and their differences."""
    NIBBLES = "nibbles"
    """Differences of its elements as half bytes, and those that are larger."""

    @property
    def needs_base(self) -> bool:
        """It says how a block differs from another."""
        return self in {Coder.DELTA, Coder.SPARSE, Coder.NIBBLES}


# A recovery.


class Stage(enum.StrEnum):
    """How far a recovery is. The scheduler knows only those that have not ended."""

    SEEKING = "seeking"
    """No version is chosen: nobody is known who has one."""
    DESCRIBING = "describing"
    """The manifest is on its way."""
    PREPARING = "preparing"
    """Space is reserved; what an earlier run left is hashed again."""
    TRANSFERRING = "transferring"
    """Blocks are fetched, verified, committed."""
    PLACING = "placing"
    """Every block is committed; the version moves to its final name."""
    DISCARDING = "discarding"
    """It will not complete; what it left is removed."""

    COMPLETE = "complete"
    CHOSEN = "chosen"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Nothing more will happen."""
        return self in _ENDS


_ENDS: Final = frozenset(
    {Stage.COMPLETE, Stage.CHOSEN, Stage.PARTIAL, Stage.FAILED, Stage.CANCELLED}
)


class Result(enum.StrEnum):
    """How a recovery ended; each is the last :class:`Stage` of it."""

    COMPLETE = "complete"
    """Every required unit is in place; optional ones may not be."""
    CHOSEN = "chosen"
    """Every required unit that was asked for is in place; others were not asked for."""
    PARTIAL = "partial"
    """What could be had is in place, and required units are not; the request permitted that."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_success(self) -> bool:
        """Something was placed."""
        return self in {Result.COMPLETE, Result.CHOSEN, Result.PARTIAL}


class FailureCause(enum.StrEnum):
    """What made a recovery fail; each has an exit code of ``ckptctl``."""

    STORE = "store"
    UNKNOWN = "unknown"
    """Nobody who answers has anything of that name, or of that version of it; or the version has
    no unit of a name that was asked for."""
    CRITICAL_MISSING = "critical_missing"
    """Nobody has some blocks of critical units."""
    REQUIRED_MISSING = "required_missing"
    """Nobody has some blocks of other required units."""
    VERIFICATION = "verification"
    CONFLICT = "conflict"
    """Several contents go by the name and version that was asked for."""


class PlaceMode(enum.StrEnum):
    """How a version that is recovered becomes visible."""

    ATOMIC = "atomic"
    """All of it at once, when all is here."""
    PROGRESSIVE = "progressive"
    """Each phase as soon as it is complete."""


class RecoverAt(enum.StrEnum):
    """When the daemon recovers by itself what its configuration names."""

    START = "start"
    """Once for each boot of the machine."""
    MISSING = "missing"
    """Whenever nothing of it stands here."""


class OnConflict(enum.StrEnum):
    """What a recovery without a person does about several contents of one version."""

    WAIT = "wait"
    """Until one of them is gone, is signed, or somebody chooses."""
    MOST_HOLDERS = "most-holders"
    """Take the one that most nodes have."""


class RivalVerdict(enum.StrEnum):
    """What came of looking whether a holder has the rival that it claims."""

    GENUINE = "genuine"
    """Its manifest decodes, and a block of it came and is right."""
    FALSE = "false"
    """It sent something else for the manifest, or has fewer blocks than it says: a lie."""
    BAD_BLOCK = "bad_block"
    """The block that came has another digest."""
    UNUSABLE = "unusable"
    """It is what its digest says, and no manifest that could be recovered."""
    UNSIGNED = "unsigned"
    """Its signatures do not suffice here."""
    NOT_HELD = "not_held"
    """It says that it does not have it."""
    NO_ANSWER = "no_answer"
    """It did not come in time, or not at all."""


class AuditResult(enum.StrEnum):
    """What came of asking a peer for one block that was drawn from what it claims."""

    RIGHT = "right"
    """It came, and has the digest that it must have."""
    WRONG = "wrong"
    """Another one came, or another manifest than the one that is claimed."""
    NOT_HELD = "not_held"
    """It says that it does not have it."""
    UNUSABLE = "unusable"
    """Its manifest could not be recovered here, or its signatures do not suffice."""
    BUSY = "busy"
    """It has no room for the question now, or this node has none."""
    NO_ANSWER = "no_answer"
    """It did not come in time, or not at all."""

    @property
    def is_failed(self) -> bool:
        """It speaks against the copy."""
        return self in {AuditResult.WRONG, AuditResult.NOT_HELD, AuditResult.UNUSABLE}


class GoalKind(enum.StrEnum):
    """What somebody waits for of a version on this node; nothing counts that is not placed."""

    PHASE = "phase"
    """All required units of one phase, and of those before it."""
    CRITICAL = "critical"
    """All critical units; of a version that has none: all required ones."""
    COMPLETE = "complete"
    """All required units."""
    NEWEST = "newest"
    """The same, of the newest version that can be had."""


class LocalOrder(enum.StrEnum):
    """What a recovery waits for on this node; one thing at a time."""

    MANIFEST = "manifest"
    JOINT = "joint"
    STAGING = "staging"
    WIDENING = "widening"
    COMMIT = "commit"
    PLACEMENT = "placement"
    DISCARD = "discard"


class MilestoneKind(enum.StrEnum):
    """From when on something of a recovery is of use."""

    FIRST_UNIT = "first_unit"
    """The first of its units is durable."""
    PHASE = "phase"
    """All that is wanted of a phase is durable."""
    CRITICAL = "critical"
    """All critical units that are wanted are durable, those of all phases."""
    PLACED = "placed"
    """The units of a phase stand under their final names."""


class Bottleneck(enum.StrEnum):
    """The one thing that would have to be faster for a recovery to be faster."""

    NETWORK = "network"
    SOURCE = "source"
    DISK = "disk"
    STATE_DISK = "state disk"
    """That of the state directory, where the journal is."""
    CPU = "cpu"
    SHAPER = "shaper"
    """A limit that an operator set on what this node receives or writes."""
    NO_SOURCE = "no source"


# Transfers and lanes.


class RangeOutcome(enum.StrEnum):
    """How a transfer ended."""

    DELIVERED = "delivered"
    """Every byte of the range came."""
    DISCONNECTED = "disconnected"
    """The connection broke, or the body was shorter than promised."""
    UNREACHABLE = "unreachable"
    """No connection could be made."""
    NOT_HELD = "not held"
    """The source does not have it, or no longer: 404 or 410. No lie: files change."""
    BUSY = "busy"
    """The source has too much to do: 429 or 503."""
    MISBEHAVED = "misbehaved"
    """The answer was not the protocol."""
    SPOILED = "spoiled"
    """A block of it was wrong, and nothing more was read: what that means is asked first."""
    TURNED_AWAY = "turned away"
    """The source has no place for another connection, and said which cap is reached."""
    CLOSED = "closed"
    """The scheduler closed the lane."""
    STORE_FAILED = "store failed"
    """This node's disk refused, or it is short of something; the source did nothing wrong."""


class CloseReason(enum.StrEnum):
    """Why a lane is closed."""

    SILENT = "silent"
    IDLE = "idle"
    FAILED = "failed"
    STOLEN = "stolen"
    PREEMPTED = "preempted"
    REDUNDANT = "redundant"
    SURPLUS = "surplus"
    NOT_WANTED = "not wanted"


class WasteReason(enum.StrEnum):
    """Why bytes that came were of no use; a label of metrics."""

    CORRUPT = "corrupt"
    """Blocks with a wrong digest."""
    DUPLICATE = "duplicate"
    """Blocks that were here already, for none of the reasons below."""
    CANCELLED = "cancelled"
    """Of blocks that were not whole when the transfer ended, for none of the reasons below."""
    HEDGE = "hedge"
    """A hedge or its rival lost the race: blocks that both sent, and what the loser had begun."""
    STOLEN = "stolen"
    """What a lane had begun of a block when a faster source took its work over."""
    PREEMPTED = "preempted"
    """What a lane had begun of a block when it gave way to another recovery."""
    SILENT = "silent"
    """What a lane brought of a block, or of blocks that were here, before it was closed as late."""
    LOST = "lost"
    """Blocks that were verified and written, and that somebody removed from staging."""
    GIVEN_UP = "given_up"
    """Verified blocks of what nobody could complete any more; another content was chosen."""


# Peers.


class PeerState(enum.StrEnum):
    """What is known of a configured address."""

    UNKNOWN = "unknown"
    """It was not asked yet."""
    LIVE = "live"
    UNREACHABLE = "unreachable"
    CONFLICT = "conflict"
    """It claims a node id that another address has."""
    SELF = "self"
    """The address is this daemon's own."""


class SourceState(enum.StrEnum):
    """What a peer is doing for this node."""

    ACTIVE = "active"
    IDLE = "idle"
    BACKING_OFF = "backing off"
    DISTRUSTED = "distrusted"
    LOST = "lost"


class RateOrigin(enum.StrEnum):
    """What measured the path to a peer."""

    RECOVERY = "recovery"
    DOCTOR = "doctor"


class Confirmation(enum.StrEnum):
    """What a source says when asked whether it stands by what it sent."""

    PENDING = "asked"
    """It was asked and has not answered."""
    HELD = "stands by it"
    NOT_HELD = "stale"
    """Its files changed; it no longer claims to have them, and is not to blame."""
    NO_ANSWER = "no answer"


class Verdict(enum.StrEnum):
    """Why a peer is used by a recovery, or is not."""

    USED = "used"
    """It delivers, or did and may be asked again."""
    SLOW = "slow"
    """Its work was taken over by a faster source."""
    DETOUR = "detour"
    """It would hold up the end: others are done with everything sooner."""
    NOT_NEEDED = "not_needed"
    """It could have been asked; others were sooner."""
    OUTRANKED = "outranked"
    """It has more urgent work of another recovery."""
    NO_ROOM = "no_room"
    """It has as much to do as it may be given."""
    BUSY = "busy"
    """It asked not to be asked for a while."""
    RESTING = "resting"
    """It failed and is not asked for a while."""
    QUARANTINED = "quarantined"
    """It is not trusted."""
    QUESTIONED = "questioned"
    """It sent bad blocks and is being asked whether it stands by them."""
    REFUSED_BLOCKS = "refused_blocks"
    """All it could bring of what is missing it sent wrongly before."""
    NOTHING_MISSING = "nothing_missing"
    """It holds nothing that is still missing and not asked for."""
    LEFT_TO_DISKS = "left_to_disks"
    """This node's own disks have what it could bring."""
    STALE = "stale"
    """It held the version, and does not any more."""
    NOT_HELD = "not_held"
    """It does not hold the version."""
    NOT_CHOSEN = "not_chosen"
    """It holds what could have been chosen; nothing is."""
    LOST = "lost"
    """It does not answer."""


class HandshakeSide(enum.StrEnum):
    """Which end of a handshake this node was."""

    SERVER = "server"
    CLIENT = "client"


class HandshakeFailure(enum.StrEnum):
    """Why a handshake failed, as this end sees it."""

    NO_CERTIFICATE = "no_certificate"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    PURPOSE = "purpose"
    REVOKED = "revoked"
    WRONG_NODE = "wrong_node"
    SELF = "self"
    PLAINTEXT = "plaintext"
    PROTOCOL = "protocol"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"


# Stories.


class StoryKind(enum.StrEnum):
    """What sort of thing happened to a recovery."""

    VERSION_CHOSEN = "version_chosen"
    RIVAL_EXAMINED = "rival_examined"
    GIVEN_UP = "given_up"
    HEDGE = "hedge"
    HEDGE_SETTLED = "hedge_settled"
    STEAL = "steal"
    PREEMPTED = "preempted"
    OUTRANKED = "outranked"
    DETOUR = "detour"
    MANIFEST_LATE = "manifest_late"
    LANE_LATE = "lane_late"
    LANES_TRIED = "lanes_tried"
    BACK_OFF = "back_off"
    QUARANTINE = "quarantine"
    BAD_BLOCKS = "bad_blocks"
    WITHDRAWN = "withdrawn"
    EPOCH_CHANGED = "epoch_changed"
    SOURCE_LOST = "source_lost"
    DISK_REFUSED = "disk_stumbled"
    CRITICAL_COMPLETE = "critical_complete"
    STANDSTILL = "standstill"
    STANDSTILL_ENDED = "standstill_ended"


class StoryReason(enum.StrEnum):
    """Why it happened."""

    NEWEST = "newest"
    NAMED = "named"
    RESUMED = "resumed"
    SILENT = "silent"
    FIRST_BYTE_LATE = "first_byte_late"
    OVERTAKEN = "overtaken"
    OUTRANKED = "outranked"
    SLOW = "slow"
    BUSY = "busy"
    TURNED_AWAY = "turned_away"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"
    MISBEHAVED = "misbehaved"
    NO_MANIFEST = "no_manifest"
    WRONG_MANIFEST = "wrong_manifest"
    WRONG_DIGEST = "wrong_digest"
    NO_ANSWER = "no_answer"
    STALE = "stale"
    REBORN = "reborn"
    LOST = "lost"
    RETRYABLE = "retryable"
    FATAL = "fatal"
    STAGING_LOST = "staging_lost"
    DURABLE = "durable"
    FASTER = "faster"
    NO_FASTER = "no_faster"
    GENUINE = "genuine"
    NOT_GENUINE = "not_genuine"
    CONFLICT = "conflict"
    NO_VERSION = "no_version"
    NO_SOURCE = "no_source"
    RESTING = "resting"
    QUARANTINED = "quarantined"
    QUESTIONED = "questioned"
    PAUSED = "paused"
    ON_DEMAND = "on_demand"
    OTHERS = "others"
    DISK = "disk"
    IN_THE_WAY = "in_the_way"
    SHORTAGE = "shortage"
    CERTIFICATE = "certificate"
    MOVING = "moving"


# This node and its operators.


class RefusalReason(enum.StrEnum):
    """Why a connection or a request was turned away."""

    CONNECTIONS = "connections"
    """There were too many connections."""
    ADDRESS = "address"
    """There were too many from one address."""
    NODE = "node"
    """There were too many of one node, by its certificate."""
    UNPROVEN = "unproven"
    """There were too many on which nothing was understood yet."""
    IDLE = "idle"
    """One on which nothing was being answered ended in good order for another one."""
    HEAD_LATE = "head_late"
    """A request head did not come in time."""
    HEAD = "head"
    """What came is no request head of the protocol."""
    REQUEST = "request"
    """A head was understood, and what it asks for cannot be asked for."""
    READER_SLOW = "reader_slow"
    """An answer was taken too slowly."""
    ANSWER = "answer"
    """An answer was not the protocol's, or not what was asked for; this node was the receiver."""

    @property
    def cap(self) -> str:
        """Which cap is reached, as half a sentence about the source; empty: none is."""
        return _CAPS.get(self, "")


_CAPS: Final = {
    RefusalReason.CONNECTIONS: "has as many connections as its listen.connections allows",
    RefusalReason.ADDRESS: "has as many connections from one address as its "
    "listen.connections_per_address allows",
    RefusalReason.NODE: "has as many connections of one node as its "
    "listen.connections_per_address allows",
    RefusalReason.UNPROVEN: "has too many connections on which nothing was asked yet",
}


class UnservedReason(enum.StrEnum):
    """Why this node, as a source, did not give what a peer asked it for."""

    NOT_HELD = "not_held"
    """It is not here (404). Peers ask for what they were once offered."""
    CHANGED = "changed"
    """Its files are not what was published (410)."""
    WITHDRAWN = "withdrawn"
    """An operator took it off offer (410)."""
    BUSY = "busy"
    """There was enough to send (429)."""
    FAILED = "failed"
    """A disk refused, or the daemon did (500, 503)."""
    CUT_CHANGED = "cut_changed"
    """A body ended short: a file turned out to have changed while it was sent."""
    CUT_FAILED = "cut_failed"
    """A body ended short: a disk refused, or what was here went away."""
    CUT_STOPPED = "cut_stopped"
    """A body ended short: this node stops, or cut the connection off."""
    CUT_BY_RECEIVER = "cut_by_receiver"
    """A body ended short: the receiver closed the connection, or took it too slowly."""


class Direction(enum.StrEnum):
    """What a limit is on."""

    INGRESS = "ingress"
    """Bodies that this node receives."""
    EGRESS = "egress"
    """Bodies that this node sends."""
    DISK_WRITE = "disk_write"
    """Blocks that this node writes."""


class LimitOrigin(enum.StrEnum):
    """Where a limit comes from; a later one counts."""

    CONFIG = "config"
    SCHEDULE = "schedule"
    RUNTIME = "runtime"


class WriteMode(enum.StrEnum):
    """Which way blocks take to the disk."""

    BUFFERED = "buffered"
    """Through the page cache."""
    DIRECT = "direct"
    """Past it, where the file system can do that."""


class Location(enum.StrEnum):
    """Where a version lies as a whole."""

    HERE = "here"
    PEERS = "peers"


class PlaceState(enum.StrEnum):
    """How a version stands at one place of this node."""

    HERE = "here"
    """All of it that is required, as it was hashed."""
    CHOSEN = "chosen"
    """Here in part by choice: required units are not, and nobody asked for them."""
    PARTIAL = "partial"
    """A recovery left required units out; nothing is wrong with the others."""
    SUSPECT = "suspect"
    """Files have other metadata than when they were hashed: to be hashed again."""
    UNSEEN = "unseen"
    """Not looked at yet since the daemon started, and not on offer until it is."""
    STALE = "stale"
    """Content is known to have changed, or to be gone; other units may still be right."""
    WITHDRAWN = "withdrawn"
    """An operator took it off offer; its files stay."""


class SavedState(enum.StrEnum):
    """What becomes of a save in a watched directory."""

    TAKEN = "taken"
    """It was published, and stands as it was."""
    DUE = "due"
    """It is published next, or being published."""
    WAITS = "waits"
    """It is not quiet or complete yet."""
    NOT_TAKEN = "not taken"
    """It is not published; why says more."""


class NotTaken(enum.StrEnum):
    """Why a save in a watched directory is not published."""

    NO_DIRECTORY = "no_directory"
    """It is a link or a file."""
    TWICE = "twice"
    """Another name is the same version."""
    OLD = "old"
    """It is not one of the newest."""
    OTHERWISE = "otherwise"
    """It stands in the catalog as something else."""
    WITHDRAWN = "withdrawn"
    """An operator took it off offer."""
    ROTTEN = "rotten"
    """It changed, though nothing was written."""
    REFUSED = "refused"
    """It could not be published when that was tried."""


class ReadReason(enum.StrEnum):
    """Why something on offer was read and hashed again."""

    SUSPECT = "suspect"
    """Its metadata had changed."""
    SCRUB = "scrub"
    """It was its turn."""
    VERIFY = "verify"
    """Somebody asked for it."""
    QUESTION = "question"
    """A receiver says that a block was bad."""


class ConfinementState(enum.StrEnum):
    """Whether the daemon gave up the permission to write anywhere but where it has to."""

    CONFINED = "confined"
    """It did."""
    ABSENT = "absent"
    """The kernel cannot do it."""
    DISABLED = "disabled"
    """The kernel can, and it is switched off at boot."""
    FORBIDDEN = "forbidden"
    """A filter of system calls does not let the daemon ask for it."""


class CheckResult(enum.StrEnum):
    """What a check of the doctor found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class TensorContent(enum.StrEnum):
    """What the bytes of a tensor are that is asked for by its name."""

    VALUES = "values"
    """Its values and nothing else, one after the other, little-endian, the last dimension fastest:
    safetensors."""
    ITEM = "item"
    """What PyTorch DCP writes for one item: an archive of ``torch.save`` unless its writer was set
    to another format, and then as its transforms made it."""


class MaterialiseStage(enum.StrEnum):
    """What is done to make a full version of a chain."""

    WAITING = "waiting"
    """Another one is being made."""
    FETCHING = "fetching"
    """Versions come that are not here."""
    COMPARING = "comparing"
    """What stands at the target is hashed: it may be that copy."""
    APPLYING = "applying"
    """Deltas are applied, and everything is written."""
    PUBLISHING = "publishing"
    """The copy is hashed, to be on offer."""


class RemovableKind(enum.StrEnum):
    """Which versions retention may remove."""

    RECOVERED = "recovered"
    """What recoveries brought here."""
    OWN = "own"
    """What the job placed and published here."""
    ALL = "all"


class Outrun(enum.StrEnum):
    """What a job that saves is faster than."""

    HASHING = "hashing"
    """Reading and hashing what it saves, here."""
    COPYING = "copying"
    """Bringing it to a second node."""
    BRINGING = "bringing"
    """Bringing it here."""


class KeptBecause(enum.StrEnum):
    """Why retention keeps a version on this node."""

    NEWEST = "newest"
    """It is one of the newest, or there are not so many yet."""
    EVERY = "every"
    """It is the one of its time; it goes when room is short."""
    ROOM = "room"
    """There is room; it goes when room is short."""
    ACTIVE = "active"
    """A job reads it as the current one."""
    KIND = "kind"
    """``[retention] remove`` does not name its kind."""
    WITHDRAWN = "withdrawn"
    """An operator took it off offer, and decides what becomes of it."""
    UNSEEN = "unseen"
    """It was not looked at since the start of the daemon."""
    CHANGED = "changed"
    """Files of it are not what was published or recovered."""
    SHARED = "shared"
    """Another version shares its files or its directory."""
    BASE = "base"
    """A version that stays here is a delta on it."""
    READ = "read"
    """A reader asked for some of it a short while ago."""
    RECOVERED_HERE = "recovered_here"
    """A recovery on this node writes or reads it."""
    RECOVERED_ELSEWHERE = "recovered_elsewhere"
    """A peer recovers it."""
    COPIES = "copies"
    """Too few other nodes have it whole, as far as this node knows."""
    REFUSED = "refused"
    """The system refused to remove it."""


class GoesBecause(enum.StrEnum):
    """Why retention removes a version from this node."""

    OLD = "old"
    """Neither ``newest`` nor ``every`` keeps it."""
    ROOM = "room"
    """Only ``every`` kept it, or nothing but room, and that is short."""


class CopiedBecause(enum.StrEnum):
    """Why this node makes a copy of a version."""

    MISSING = "missing"
    """There are fewer copies than asked."""
    GROWS = "grows"
    """It has a part; others have fewer copies of the rest than asked."""
    ZONES = "zones"
    """There are enough copies, but in fewer zones than is possible."""


class GivenBackBecause(enum.StrEnum):
    """Why this node gives a copy back."""

    SURPLUS = "surplus"
    """Without it there are as many as asked, in as many zones."""
    OLD = "old"
    """So many newer versions as are kept are whole elsewhere or here."""


class ShortBecause(enum.StrEnum):
    """Why there are fewer copies of a version than asked."""

    SOURCES = "sources"
    """Nobody who answers has all of it."""
    LOST = "lost"
    """A holder is lost; it is replaced after the grace time."""
    UNPROVEN = "unproven"
    """Enough nodes claim it; not all are audited yet."""
    COMING = "coming"
    """Nodes that are to have it are known, and fetch it."""
    FULL = "full"
    """Who would be next takes no more copies."""
    MEMBERS = "members"
    """Fewer nodes keep copies of it than are asked."""
    ZONES = "zones"
    """There are enough copies, but in fewer zones than is possible."""


class CopiesState(enum.StrEnum):
    """How the copies of a version compare with what is asked, best first."""

    WHOLE = "whole"
    """All are there, and proven."""
    UNPROVEN = "not proven yet"
    """All are claimed; not all are audited yet."""
    TOO_CLOSE = "too few zones"
    """All are there, but in fewer zones than is possible."""
    UNDER_REPLICATED = "under-replicated"
    """There are fewer than asked."""


class Role(enum.IntEnum):
    """What a caller of the control socket may do; a higher one may do more."""

    STRANGER = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()
