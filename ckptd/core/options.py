"""The numbers the scheduler works with. But for one, nobody is meant to tune them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ckptd.limits import MIB, MS, QUESTIONED_BLOCKS_MAX, RANGE_BYTES_MAX, SECOND
from ckptd.model.words import OnConflict


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """How much is asked for at once.

    Attributes:
        duration_ns: A range is what a source delivers in this time. Long enough that the pause
            between two ranges does not show, short enough to change one's mind.
        bytes_first: Size of a range while a source's rate is not known.
        bytes_min: Ranges are not cut smaller than this toward the end, but to one block.
        bytes_max: Never ask for more at once. Beyond 16 MiB nothing is gained (measured over
            loopback: 1.7 GB/s with 4 MiB ranges, 1.9 GB/s with 16 to 64 MiB).
        in_flight_bytes_max: No more is asked for over all sources and recoveries.
        window_ns: No source is given more work than it does in this time.
        detour_ratio: A source is not given a range for which it needs this many times what the
            whole rest takes all sources together, if another one has it.
        disk_ratio: Peers are asked for what this node's disks have once they are together this
            many times as fast; no more once they are slower. Bytes that need not travel cost
            nobody anything, so a little time is not worth them.
        disk_rest_ns: … nor is that begun where the disks need no longer than this for the rest.
        disk_patience_ns: Peers whose rates are not known are tried if the disks need longer.
    """

    duration_ns: int = 250 * MS
    bytes_first: int = 1 * MIB
    bytes_min: int = 1 * MIB
    bytes_max: int = RANGE_BYTES_MAX
    in_flight_bytes_max: int | None = None
    window_ns: int = 2 * SECOND
    detour_ratio: int = 2
    disk_ratio: float = 2.0
    disk_rest_ns: int = 1 * SECOND
    disk_patience_ns: int = 5 * SECOND


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How many connections lead to a source.

    Attributes:
        ranges_per_lane: Requests in flight on one connection; the second hides the way there and
            back.
        per_source_max: Connections of one recovery to one source. Most paths are filled by one;
            behind a limit for each, four bring four times as much. A source serves many, so not
            more (aria2: 1 to a server by default, at most 16; Syncthing 2: 3 to a device).
        busy_bytes_per_s: An only source that brings so much on one lane gets a second one at once:
            a lane's thread, which hashes and writes, is busy with 1.1 GB/s.
        coded_bytes_per_s: Sources that bring so much on each lane in coded blocks get further ones
            at once: what codes at one end of a lane and decodes at the other are busy with
            three times as much …
        coded_max: … while this node has fewer in all: each takes one of its processors.
        trial_ns: What comes is measured so long before and after the number is changed.
        trial_gain: A lane is kept if its source delivers this many times what it does without;
            rates sway by a tenth.
        trial_left_ns: None is tried if all would be here within this time.
        trial_pause_ns: Nothing is tried for so long after a trial that taught nothing new, doubled
            each time …
        trial_pause_max_ns: … up to this: paths change.
        idle_ns: A lane without work is closed after this.
    """

    ranges_per_lane: int = 2
    per_source_max: int = 4
    busy_bytes_per_s: int = 200 * MIB
    coded_bytes_per_s: int = 100 * MIB
    coded_max: int = 4
    trial_ns: int = 1 * SECOND
    trial_gain: float = 1.15
    trial_left_ns: int = 5 * SECOND
    trial_pause_ns: int = 10 * SECOND
    trial_pause_max_ns: int = 320 * SECOND
    idle_ns: int = 10 * SECOND


@dataclass(frozen=True, slots=True)
class SilenceOptions:
    """How long a source may be silent, and how long it rests after a failure.

    Attributes:
        floor_ns: A lane is never called silent earlier than this.
        gaps: … nor before this many of its usual gaps between two reports.
        first_byte_floor_ns: A first byte is never called late earlier than this.
        first_byte_latencies: … nor before this many of the source's usual latencies.
        first_byte_ceiling_ns: Patience with a source that never answered grows up to this. It grows
            with each failure, or a source that is merely far away could never be used.
        back_off_first_ns: Pause after the first failure; doubled for each further one.
        back_off_max_ns: Longest pause after failures.
    """

    floor_ns: int = 500 * MS
    gaps: int = 4
    first_byte_floor_ns: int = 1 * SECOND
    first_byte_latencies: int = 4
    first_byte_ceiling_ns: int = 30 * SECOND
    back_off_first_ns: int = 250 * MS
    back_off_max_ns: int = 10 * SECOND


@dataclass(frozen=True, slots=True)
class HedgingOptions:
    """What is asked of two sources.

    Attributes:
        percentile: A critical range is late when it is later than this share of ranges …
        ratio: … by this factor, or than so many usual gaps in the middle of a body …
        floor_ns: … and later than this.
        share: Hedges may duplicate this share of what is wanted of a version.
        redundancy: From how many sources a critical range is asked once no critical one is left to
            be ordered: 1, or 2 that race for it. The one number a person may choose.
    """

    percentile: float = 0.9
    ratio: int = 3
    floor_ns: int = 200 * MS
    share: float = 0.05
    redundancy: int = 1


@dataclass(frozen=True, slots=True)
class StealingOptions:
    """When work is taken from a source.

    Attributes:
        ratio: Work is taken from a source that needs this many times what an idle one would need
            for it …
        floor_ns: … and longer than this.
        preempt_floor_ns: Less urgent work is given up for another recovery if the source needs
            longer than this for it.
    """

    ratio: int = 4
    floor_ns: int = 250 * MS
    preempt_floor_ns: int = 50 * MS


@dataclass(frozen=True, slots=True)
class TrustOptions:
    """What bad blocks cost a source.

    Attributes:
        quarantine_at: At this trust a source is not used any more …
        quarantine_ns: … for this long, doubled with each further time.
        most: Good ranges do not add up beyond this.
        per_bad_block: What a bad block costs; one of a critical unit costs everything. With
            ``trust_max`` and ``quarantine_trust`` these are libtorrent's numbers.
        questioned_max: A source is asked about so many bad blocks at once.
        unanswered_max: So often in a version it may give no answer when it is asked about bad
            blocks: a crash may fall into one question, hardly into two.
        strikes_max: So often may bad blocks of a version come from a source, whatever it says of
            them, before it is asked for nothing of that version that another one has. Four bad
            blocks cost the trust of a stranger; those of a source that denies all it sent, or that
            has a new epoch whenever it is asked, cost no more bytes.
        excused_units_max: With so many units of a version denied after bad blocks a source is
            asked for nothing of it that another one has: it need not lie to be of no use.
        doubted_versions_max: Of so many versions a source's bad blocks are remembered.
    """

    quarantine_at: int = -7
    quarantine_ns: int = 60 * SECOND
    most: int = 8
    per_bad_block: int = 2
    questioned_max: int = QUESTIONED_BLOCKS_MAX
    unanswered_max: int = 1
    strikes_max: int = 4
    excused_units_max: int = 4
    doubted_versions_max: int = 64


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """When verified blocks become durable, and what becomes of a disk that refuses.

    Attributes:
        bytes_due: Verified bytes are made durable when this many have come together, or
            ``COPIED_PER_FETCHED`` times as many where they were copied on this node …
        age_ns: … or the oldest of them is this old …
        age_swarming_ns: … or this old, while others recover the same version: only what is durable
            is advertised.
        staging_losses_max: So often what was staged may be lost and is fetched again. A cleaner
            passes by once a day; one that comes more often has to be found.
        retry_ns: When a local order (staging, a full disk) is tried again.
    """

    bytes_due: int = 8 * MIB
    age_ns: int = 1 * SECOND
    age_swarming_ns: int = 250 * MS
    staging_losses_max: int = 3
    retry_ns: int = 5 * SECOND


@dataclass(frozen=True, slots=True)
class NeedOptions:
    """How ranges are treated that somebody waits for.

    Attributes:
        asked_bytes_max: So much of a range goes before everything: enough to keep a source busy,
            and so little that whoever needs everything takes turns with others.
        ahead_bytes_first: So much is fetched ahead of a reader that goes on for the first time …
        ahead_bytes_max: … doubled up to this, which a link of 1 Gbit/s brings in half a second.
        readers_max: Of so many readers it is known where they were.
        at_once_max: So many ranges of a recovery are waited for at once.
        late_ns: A block that would come later than this, behind what was asked of a source
            before, is asked for once more at once.
    """

    asked_bytes_max: int = 16 * MIB
    ahead_bytes_first: int = 1 * MIB
    ahead_bytes_max: int = 64 * MIB
    readers_max: int = 64
    at_once_max: int = 256
    late_ns: int = 50 * MS


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """How a manifest is asked for.

    Attributes:
        sources_max: So many sources at most are asked for a manifest at the same time.
        failed_max: With so many manifests that were wrong, or did not come, an origin's claims
            count no more for a recovery while others have something.
        unsuited_max: … with so many that were not signed as required, too new, or not there: of an
            honest node the newest versions may all be so.
        claims_max: So many versions of a checkpoint are looked at of each source, the newest.
        patience_ns: Another version is chosen, if there is one, when the manifest did not come in
            this time …
        bytes_per_s: … and in what it would take at this rate, as long as it may be …
        patience_max_ns: … at most in this. Halved each time, for those who have the next one …
        patience_min_ns: … but not below this.
        absence_ns: If nobody who has it answers any more, it is waited for so long: as a machine
            takes that starts again.
    """

    sources_max: int = 4
    failed_max: int = 2
    unsuited_max: int = 16
    claims_max: int = 64
    patience_ns: int = 10 * SECOND
    bytes_per_s: int = 1 * MIB
    patience_max_ns: int = 60 * SECOND
    patience_min_ns: int = 1 * SECOND
    absence_ns: int = 120 * SECOND


@dataclass(frozen=True, slots=True)
class RivalOptions:
    """What is done about several contents that go by one version.

    Attributes:
        at_once_max: So many claims at most are examined at the same time, for each recovery.
        per_node_max: A node's claims to more contents of one version than this do not count: a
            node that really has so many is a case for a person.
        tries_max: So often a claim is examined of which nothing comes.
        patience_ns: What could not be seen of a version in this time does not count any more, half
            of it for the next version …
        patience_min_ns: … but not less than this.
        on_conflict: What a recovery in the background does, for which nobody waits who could
            choose.
    """

    at_once_max: int = 4
    per_node_max: int = 4
    tries_max: int = 2
    patience_ns: int = 20 * SECOND
    patience_min_ns: int = 1 * SECOND
    on_conflict: OnConflict = OnConflict.WAIT


@dataclass(frozen=True, slots=True)
class PatienceOptions:
    """How long is waited at most for what may not be worth it, whatever the patience.

    Attributes:
        unknown_ns: A name of which nobody has anything is waited for so long while some address
            does not answer; a daemon that restarts is back by then.
        optional_ns: Optional units that nobody has are waited for so long once all others are
            here. A holder whose connection broke is found again within three seconds.
    """

    unknown_ns: int = 15 * SECOND
    optional_ns: int = 10 * SECOND


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How nodes that recover one job agree on a version.

    Attributes:
        settle_ns: Nothing is placed so soon after a version was chosen: who chose another one at
            the same time is heard by then, and what is placed is not given up any more.
    """

    settle_ns: int = 1 * SECOND


@dataclass(frozen=True, slots=True)
class Options:
    """What the scheduler takes for granted, by what it is about."""

    ranges: RangeOptions = field(default_factory=RangeOptions)
    lanes: LaneOptions = field(default_factory=LaneOptions)
    silence: SilenceOptions = field(default_factory=SilenceOptions)
    hedging: HedgingOptions = field(default_factory=HedgingOptions)
    stealing: StealingOptions = field(default_factory=StealingOptions)
    trust: TrustOptions = field(default_factory=TrustOptions)
    commits: CommitOptions = field(default_factory=CommitOptions)
    needs: NeedOptions = field(default_factory=NeedOptions)
    manifests: ManifestOptions = field(default_factory=ManifestOptions)
    rivals: RivalOptions = field(default_factory=RivalOptions)
    patience: PatienceOptions = field(default_factory=PatienceOptions)
    jobs: JobOptions = field(default_factory=JobOptions)

    def paced(self, ingress_bytes_per_s: int | None) -> Options:
        """Return options for a limit on what may come: what is asked for then comes soon.

        Ranges are what comes in their time over all lanes, and what is in flight what comes in a
        second, which is more than any path holds.
        """
        if ingress_bytes_per_s is None:
            return self
        ranges = self.ranges
        range_bytes = max(ingress_bytes_per_s * ranges.duration_ns // SECOND, 1)
        paced = replace(
            ranges,
            bytes_first=min(ranges.bytes_first, range_bytes),
            bytes_min=min(ranges.bytes_min, range_bytes),
            bytes_max=min(ranges.bytes_max, range_bytes),
            in_flight_bytes_max=ingress_bytes_per_s,
        )
        return replace(self, ranges=paced)
