"""The numbers the scheduler works with. But for one, nobody is meant to tune them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ckptd.limits import MIB, MS, RANGE_BYTES_MAX, SECOND


@dataclass(frozen=True, slots=True)
class Options:
    """What the scheduler takes for granted.

    Attributes:
        range_duration_ns: A range is what a source delivers in this time. Long enough that the
            pause between two ranges does not show, short enough to change one's mind.
        range_bytes_first: Size of a range while a source's rate is not known.
        range_bytes_min: Ranges are not cut smaller than this toward the end, but to one block.
        range_bytes_max: Never ask for more at once. Beyond 16 MiB nothing is gained (measured
            over loopback: 1.7 GB/s with 4 MiB ranges, 1.9 GB/s with 16 to 64 MiB).
        in_flight_bytes_max: No more is asked for over all sources and recoveries.
        window_ns: No source is given more work than it does in this time.
        ranges_per_lane: Requests in flight on one connection; the second hides the way there
            and back.
        lanes_per_source_max: Connections of one recovery to one source. Most paths are filled by
            one; behind a limit for each, four bring four times as much. A source serves many, so
            not more (aria2: 1 to a server by default, at most 16; Syncthing 2: 3 to a device).
        lane_busy_bytes_per_s: An only source that brings so much on one lane gets a second one
            at once: a lane's thread, which hashes and writes, is busy with 1.1 GB/s.
        lane_trial_ns: What comes is measured so long before and after the number is changed.
        lane_trial_gain: A lane is kept if its source delivers this many times what it does
            without; rates sway by a tenth.
        lane_trial_left_ns: None is tried if all would be here within this time.
        lane_trial_pause_ns: Nothing is tried for so long after a trial that taught nothing new,
            doubled each time …
        lane_trial_pause_max_ns: … up to this: paths change.
        silence_floor_ns: A lane is never called silent earlier than this.
        silence_gaps: … nor before this many of its usual gaps between two reports.
        first_byte_floor_ns: A first byte is never called late earlier than this.
        first_byte_latencies: … nor before this many of the source's usual latencies.
        first_byte_ceiling_ns: Patience with a source that never answered grows up to this.
            It grows with each disappointment, or a source that is merely far away could never
            be used.
        back_off_first_ns: Pause after the first failure; doubled for each further one.
        back_off_max_ns: Longest pause after failures.
        hedge_percentile: A critical range is late when it is later than this share of ranges …
        hedge_ratio: … by this factor, or than so many usual gaps in the middle of a body …
        hedge_floor_ns: … and later than this.
        hedge_share: Hedges may duplicate this share of a version.
        redundancy: From how many sources a critical range is asked once no critical one is left
            to be ordered: 1, or 2 that race for it. The one number a person may choose.
        steal_ratio: Work is taken from a source that needs this many times what an idle one
            would need for it …
        steal_floor_ns: … and longer than this.
        preempt_floor_ns: Less urgent work is given up for another recovery if the source needs
            longer than this for it.
        detour_ratio: A source is not given a range for which it needs this many times what the
            whole rest takes all sources together, if another one has it.
        quarantine_trust: At this trust a source is not used any more …
        quarantine_ns: … for this long, doubled with each further time.
        trust_max: Good ranges do not add up beyond this.
        trust_per_bad_block: What a bad block costs; one of a critical unit costs everything.
            With ``trust_max`` and ``quarantine_trust`` these are libtorrent's numbers.
        commit_bytes: Verified bytes are made durable when this many have come together …
        commit_age_ns: … or the oldest of them is this old …
        commit_age_swarming_ns: … or this old, while others recover the same version: only what
            is durable is advertised.
        lane_idle_ns: A lane without work is closed after this.
        staging_losses_max: So often what was staged may be lost and is fetched again. A cleaner
            passes by once a day; whoever comes more often has to be found.
        manifest_sources_max: So many sources at most are asked for a manifest at the same time.
        retry_ns: When a local order (staging, a full disk) is tried again.
    """

    range_duration_ns: int = 250 * MS
    range_bytes_first: int = 1 * MIB
    range_bytes_min: int = 1 * MIB
    range_bytes_max: int = RANGE_BYTES_MAX
    in_flight_bytes_max: int | None = None
    window_ns: int = 2 * SECOND
    ranges_per_lane: int = 2
    lanes_per_source_max: int = 4
    lane_busy_bytes_per_s: int = 200 * MIB
    lane_trial_ns: int = 1 * SECOND
    lane_trial_gain: float = 1.15
    lane_trial_left_ns: int = 5 * SECOND
    lane_trial_pause_ns: int = 10 * SECOND
    lane_trial_pause_max_ns: int = 320 * SECOND
    silence_floor_ns: int = 500 * MS
    silence_gaps: int = 4
    first_byte_floor_ns: int = 1 * SECOND
    first_byte_latencies: int = 4
    first_byte_ceiling_ns: int = 30 * SECOND
    back_off_first_ns: int = 250 * MS
    back_off_max_ns: int = 10 * SECOND
    hedge_percentile: float = 0.9
    hedge_ratio: int = 3
    hedge_floor_ns: int = 200 * MS
    hedge_share: float = 0.05
    redundancy: int = 1
    steal_ratio: int = 4
    steal_floor_ns: int = 250 * MS
    preempt_floor_ns: int = 50 * MS
    detour_ratio: int = 2
    quarantine_trust: int = -7
    quarantine_ns: int = 60 * SECOND
    trust_max: int = 8
    trust_per_bad_block: int = 2
    commit_bytes: int = 8 * MIB
    commit_age_ns: int = 1 * SECOND
    commit_age_swarming_ns: int = 250 * MS
    lane_idle_ns: int = 10 * SECOND
    staging_losses_max: int = 3
    manifest_sources_max: int = 4
    retry_ns: int = 5 * SECOND

    def paced(self, ingress_bytes_per_s: int | None) -> Options:
        """Return options for a limit on what may come: what is asked for then comes soon.

        Ranges are what comes in their time over all lanes, and what is in flight what comes in a
        second, which is more than any path holds.
        """
        if ingress_bytes_per_s is None:
            return self
        range_bytes = max(ingress_bytes_per_s * self.range_duration_ns // SECOND, 1)
        return replace(
            self,
            range_bytes_first=min(self.range_bytes_first, range_bytes),
            range_bytes_min=min(self.range_bytes_min, range_bytes),
            range_bytes_max=min(self.range_bytes_max, range_bytes),
            in_flight_bytes_max=ingress_bytes_per_s,
        )
