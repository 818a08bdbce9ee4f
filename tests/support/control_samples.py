"""One message of each kind, to send over the control socket."""

from ckptd.control.messages.checkpoints import (
    CheckpointRow,
    PlaceRow,
    PublishProgress,
    PublishResult,
)
from ckptd.control.messages.copies import (
    CopiedVersion,
    CopiesView,
    CopyCount,
    CopyHolder,
    CopyMember,
)
from ckptd.control.messages.current_links import Activated, LinkRow
from ckptd.control.messages.daemon_status import ListenAddresses, ReloadResult, RootRow, Status
from ckptd.control.messages.explanations import ExplanationView, Happening, PeerPart
from ckptd.control.messages.jobs import Adopted, AdoptedRow, DifferingRow, NewestView
from ckptd.control.messages.life_cycle import (
    LetGo,
    LetGoRow,
    RemovedRow,
    RemoveProgress,
    RemoveResult,
)
from ckptd.control.messages.limit_settings import LimitRow, LimitsView, YieldView
from ckptd.control.messages.manifests import FoldRow, ManifestView, PhaseRow
from ckptd.control.messages.materialising import (
    ChainRow,
    MaterialiseProgress,
    MaterialiseResult,
    WayRow,
)
from ckptd.control.messages.peers import BadBlockRow, PathRow, PeerRow, PeerView
from ckptd.control.messages.plans import ClassBytes, PassedOverRow, Plan, PlanSource
from ckptd.control.messages.prioritized import (
    NeedProgress,
    NeedResult,
    Prioritized,
)
from ckptd.control.messages.recovery_results import (
    RecoveryProgress,
    RecoveryResult,
    SourceShare,
)
from ckptd.control.messages.retention import CollectedRow, CollectResult
from ckptd.control.messages.running_recoveries import RecoveryView, SourceRow
from ckptd.control.messages.verifications import BadUnit, VerifyProgress, VerifyResult
from ckptd.control.messages.waiting import WaitProgress, WaitResult
from ckptd.control.messages.watched import SaveRow, WatchedRow
from ckptd.control.messages.workloads import (
    AbsorbingView,
    OutrunRow,
    WorkloadRow,
    WorkloadVersionRow,
    WorkloadView,
)
from ckptd.limits import GIB, MIB, TIB
from ckptd.model.words import (
    Confirmation,
    CopiesState,
    GoesBecause,
    KeptBecause,
    LimitOrigin,
    Location,
    MaterialiseStage,
    Outrun,
    PeerState,
    PlaceState,
    Result,
    SavedState,
    ShortBecause,
    SourceState,
    Stage,
)

WATCHED = WatchedRow(
    directory="/data/run-7",
    checkpoint="llama/shard-3-of-8",
    pattern=r"global_step(\d+)",
    taken=1,
    obstacle="",
    saves=(
        SaveRow(
            name="global_step200",
            version=200,
            state=SavedState.WAITS,
            why="changed within the last 5.0s",
            wait_s=3.2,
        ),
        SaveRow(name="global_step100", version=100, state=SavedState.TAKEN, why="", wait_s=0.0),
    ),
)

COPIES = CopiesView(
    names=("llama*",),
    zone="row-1/rack-7",
    root="copies",
    quota_bytes=2 * TIB,
    used_bytes=300 * GIB,
    saved_bytes=70 * GIB,
    is_full=False,
    is_settled=True,
    age_s=2.5,
    obstacle="",
    checkpoints=1,
    whole=0,
    unproven=0,
    too_close=0,
    under_replicated=1,
    members=(
        CopyMember(
            node="node-a",
            zone="row-1/rack-7",
            is_live=True,
            lost_s=None,
            is_full=False,
            is_blamed=False,
        ),
        CopyMember(
            node="node-d", zone="", is_live=False, lost_s=180.0, is_full=False, is_blamed=False
        ),
    ),
    versions=(
        CopiedVersion(
            checkpoint="llama",
            version=1200,
            digest="ab" * 32,
            size_bytes=150 * GIB,
            state=CopiesState.UNDER_REPLICATED,
            counts=(
                CopyCount(
                    criticality="critical",
                    asked=2,
                    proven=1,
                    claimed=1,
                    zones=1,
                    unknown_zones=0,
                    state=CopiesState.UNDER_REPLICATED,
                    because=ShortBecause.LOST,
                    why="node-d is lost, replaced in 7m00s",
                    until_s=420.0,
                ),
            ),
            holders=(
                CopyHolder(
                    node="node-a",
                    zone="row-1/rack-7",
                    least="critical",
                    is_proven=True,
                    is_live=True,
                ),
                CopyHolder(node="node-d", zone="", least="critical", is_proven=True, is_live=False),
            ),
        ),
    ),
)

WORKLOAD = WorkloadView(
    rows=(
        WorkloadRow(
            checkpoint="llama",
            shards=8,
            versions=16,
            published=11,
            newest=200,
            is_current=True,
            saved_age_s=4.2,
            interval_s=10.0,
            last_interval_s=9.4,
            size_bytes=2 * GIB,
            changed_share=0.345,
            hashed_s=12.0,
            paced_s=7.0,
            hashing_bytes_per_s=170.0 * MIB,
            copied_s=8.0,
            brought_s=None,
            outrun=(Outrun.HASHING,),
        ),
        WorkloadRow(
            checkpoint="evals",
            shards=0,
            versions=1,
            published=0,
            newest=7,
            is_current=False,
            saved_age_s=None,
            interval_s=None,
            last_interval_s=None,
            size_bytes=None,
            changed_share=None,
            hashed_s=None,
            paced_s=0.0,
            hashing_bytes_per_s=None,
            copied_s=None,
            brought_s=61.0,
            outrun=(),
        ),
    ),
    shards=(),
    versions=(
        WorkloadVersionRow(
            version=190,
            is_published=False,
            saved_age_s=13.6,
            size_bytes=None,
            changed_share=None,
            hashed_s=None,
            copied_s=None,
            brought_s=None,
        ),
        WorkloadVersionRow(
            version=200,
            is_published=True,
            saved_age_s=4.2,
            size_bytes=2 * GIB,
            changed_share=0.345,
            hashed_s=12.0,
            copied_s=8.0,
            brought_s=None,
        ),
    ),
    outrun=(
        OutrunRow(
            checkpoint="llama",
            outrun=Outrun.HASHING,
            finding="is saved every 10s, and a version takes 12s to hash, at 170 MiB/s: ckptd falls"
            " behind",
            remedy="Set rate of its [[watch]] to 300 MiB/s; it is 200 MiB/s.",
        ),
    ),
    hashing_share=1.2,
    absorbing=AbsorbingView(
        recoveries=12,
        brought_bytes_per_s=812.0 * MIB,
        peer="node-b",
        peer_bytes_per_s=1.1 * GIB,
    ),
)

LIMITS = LimitsView(
    limits=(
        LimitRow(
            limit="egress.background",
            bytes_per_s=50 * MIB,
            origin=LimitOrigin.SCHEDULE,
            configured_bytes_per_s=50 * MIB,
        ),
        LimitRow(
            limit="ingress.total",
            bytes_per_s=None,
            origin=LimitOrigin.RUNTIME,
            configured_bytes_per_s=400 * MIB,
            left_s=600,
        ),
    ),
    throttled_s={"ingress": {"normal": 12.5, "background": 0.0}},
    yielding=YieldView(
        interface="eth0",
        link_bytes_per_s=GIB,
        ingress_bytes_per_s=100 * MIB,
        egress_bytes_per_s=200 * MIB,
    ),
)

DIGEST = "ab" * 32

VIEW = RecoveryView(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    target="/data/llama/rank-0/100",
    stage=Stage.TRANSFERRING,
    is_paused=False,
    units_total=120,
    units_done=37,
    bytes_total=2 * GIB,
    bytes_verified=512 * MIB,
    bytes_left=2 * GIB - 512 * MIB,
    rate_bytes_per_s=1.5 * GIB,
    eta_s=1.0,
    waiting_for="",
    missing_blocks=0,
    missing_units=(),
    sources=(
        SourceRow(
            node="node-b",
            path="node-b",
            state=SourceState.ACTIVE,
            bytes=300 * MIB,
            rate_bytes_per_s=900.0 * MIB,
            in_flight_bytes=32 * MIB,
        ),
        SourceRow(
            node="node-c",
            path="node-c",
            state=SourceState.BACKING_OFF,
            bytes=212 * MIB,
            rate_bytes_per_s=636.0 * MIB,
            in_flight_bytes=0,
        ),
    ),
    started_at_s=1_700_000_000.0,
    elapsed_s=0.4,
)
PROGRESS = RecoveryProgress(view=VIEW)

RESULT = RecoveryResult(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    result=Result.COMPLETE,
    is_degraded=False,
    missing_units=(),
    cause=None,
    message="",
    target="/data/llama/rank-0/100",
    bytes_total=2 * GIB,
    bytes_received=2 * GIB,
    bytes_resumed=0,
    bytes_wasted=0,
    duration_s=1.4,
    time_to_critical_s=0.3,
    sources=(
        SourceShare(node="node-b", bytes=1200 * MIB),
        SourceShare(node="node-c", bytes=848 * MIB),
    ),
)

WAIT_PROGRESS = WaitProgress(
    waiting_for="recovery 01J9QX of llama/rank-0@100, transferring",
    detail="1 GiB left, ETA 2s",
    version=100,
    recovery="01J9QX",
    stage=Stage.TRANSFERRING,
    bytes_left=GIB,
    eta_s=2.0,
)
WAIT_RESULT = WaitResult(
    checkpoint="llama/rank-0",
    goal="complete",
    is_reached=True,
    version=100,
    digest=DIGEST,
    directory="/data/llama/rank-0/100",
    waited_s=2.5,
)

PUBLISH_PROGRESS = PublishProgress(
    files_done=3, files_total=12, bytes_done=512 * MIB, bytes_total=2 * GIB
)
PUBLISH_RESULT = PublishResult(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    size_bytes=2 * GIB,
    units=12,
    is_new=True,
    directory="/data/llama/rank-0/100",
    duration_s=0.7,
)

PLACE = PlaceRow(
    root="ckpt",
    directory="/data/llama/rank-0/100",
    state=PlaceState.HERE,
    reason="",
    units=12,
    suspect_units=0,
    changed_units=0,
    is_published=True,
    added_at_s=1_795_000_000.0,
    checked_at_s=1_795_600_000.0,
)
ADOPTED = Adopted(
    job="llama",
    count=8,
    versions=(
        AdoptedRow(
            checkpoint="llama/rank-3",
            version=100,
            shard="llama/shard-3-of-8",
            digest="ab" * 32,
            size_bytes=2 * GIB,
            directory="/data/llama/rank-3/100",
        ),
    ),
    is_dry_run=False,
)
NEWEST = NewestView(
    job="llama",
    version=100,
    shards=8,
    is_agreed=False,
    why="newest that is whole for all 8 shards",
    differing=(DifferingRow(node="node-b", version=99),),
    silent=("node-c",),
)
LET_GO = LetGo(
    places=(
        LetGoRow(
            checkpoint="llama/rank-0",
            version=100,
            digest=DIGEST,
            size_bytes=2 * GIB,
            directory="/data/llama/rank-0/100",
            is_elsewhere=False,
        ),
    ),
    is_dry_run=False,
)
ACTIVATED = Activated(
    links=(
        LinkRow(
            checkpoint="llama/rank-0",
            link="/data/llama/rank-0/current",
            version=100,
            digest=DIGEST,
            directory="/data/llama/rank-0/100",
            version_before=99,
            is_new=True,
            swap_s=0.0008,
        ),
    )
)
MATERIALISE_PROGRESS = MaterialiseProgress(
    stage=MaterialiseStage.APPLYING, bytes_done=512 * MIB, bytes_total=2 * GIB
)
MATERIALISED = MaterialiseResult(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    directory="/data/llama-100",
    chain=(
        ChainRow(
            checkpoint="llama/rank-0",
            version=98,
            digest="98" * 32,
            size_bytes=2 * GIB,
            is_delta=False,
            is_fetched=False,
        ),
        ChainRow(
            checkpoint="llama/rank-0",
            version=99,
            digest="99" * 32,
            size_bytes=30 * MIB,
            is_delta=True,
            is_fetched=True,
        ),
        ChainRow(
            checkpoint="llama/rank-0",
            version=100,
            digest=DIGEST,
            size_bytes=20 * MIB,
            is_delta=True,
            is_fetched=False,
        ),
    ),
    ways=(
        WayRow(
            text="from 98 that is here and 2 deltas on it: 2 GiB to write, about 7.0s",
            predicted_s=7.0,
            fetch_bytes=30 * MIB,
            apply_bytes=4 * GIB,
        ),
    ),
    size_bytes=2 * GIB,
    files=9,
    left_out=("pytorch_model.bin",),
    is_standing=False,
    is_dry_run=False,
    duration_s=3.25,
    published="llama/rank-0.full",
    published_digest="f0" * 32,
)
REMOVE_PROGRESS = RemoveProgress(
    files_done=1, files_total=2, bytes_done=512 * MIB, bytes_total=2 * GIB
)
REMOVED = RemoveResult(
    checkpoint="llama/rank-0",
    version=100,
    places=(
        RemovedRow(
            digest=DIGEST,
            directory="/data/llama/rank-0/100",
            files=12,
            removed_bytes=2 * GIB,
            changed=(),
            kept=(),
            is_directory_gone=True,
        ),
    ),
    is_dry_run=False,
)
COLLECTED = CollectedRow(
    checkpoint="llama",
    version=100,
    size_bytes=2 * GIB,
    is_gone=True,
    goes_because=GoesBecause.OLD,
    kept_because=None,
    why="not among the newest 3",
    freed_bytes=2 * GIB,
    copies_elsewhere=2,
    directories=("/data/llama/100",),
)
STAYS = CollectedRow(
    checkpoint="llama",
    version=200,
    size_bytes=2 * GIB,
    is_gone=False,
    goes_because=None,
    kept_because=KeptBecause.NEWEST,
    why="one of the newest 3",
    freed_bytes=0,
    copies_elsewhere=0,
    directories=("/data/llama/200",),
)
COLLECT_RESULT = CollectResult(
    is_on=True,
    removed=1,
    freed_bytes=2 * GIB,
    kept={"newest": 1},
    short_bytes={},
    is_dry_run=False,
)
VERIFY_PROGRESS = VerifyProgress(
    files_done=3, files_total=12, bytes_done=512 * MIB, bytes_total=2 * GIB
)
BAD_UNIT = BadUnit(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    directory="/data/llama/rank-0/100",
    path="optimizer/state.bin",
    is_changed=True,
    is_rotten=True,
    why="file /data/llama/rank-0/100/optimizer/state.bin: its content is not what was published",
)
VERIFY_RESULT = VerifyResult(
    places=1, units=12, read_bytes=2 * GIB, changed_units=1, unread_units=0, duration_s=0.7
)

CHECKPOINT = CheckpointRow(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    size_bytes=2 * GIB,
    held=Location.PEERS,
    is_complete=True,
    is_stale=False,
    nodes=("node-b", "node-c"),
)
PEER = PeerRow(
    node="node-b",
    address="10.0.0.2:7421",
    state=PeerState.LIVE,
    epoch=7,
    versions=3,
    rate_bytes_per_s=900.0 * MIB,
)
PEER_VIEW = PeerView(
    node="node-b",
    address="10.0.0.2:7421",
    state=SourceState.DISTRUSTED,
    epoch=7,
    versions=3,
    versions_complete=2,
    rate_bytes_per_s=900.0 * MIB,
    latency_s=0.0021,
    trust=0,
    failures=0,
    quarantines=1,
    quarantined_until_s=1_700_000_060.0,
    bad_blocks=51,
    evidence=(
        BadBlockRow(
            at_s=1_700_000_000.0,
            checkpoint="llama/rank-0",
            version=100,
            unit="model.safetensors",
            block=3,
            recovery="01J9QX",
            answer=Confirmation.HELD,
        ),
    ),
    paths=(
        PathRow(
            path="node-b",
            address="10.0.0.2:7421",
            state=SourceState.DISTRUSTED,
            rate_bytes_per_s=900.0 * MIB,
            latency_s=0.0021,
        ),
        PathRow(
            path="node-b via 10.0.1.2:7421",
            address=None,
            state=SourceState.LOST,
            rate_bytes_per_s=None,
            latency_s=None,
        ),
    ),
)
MANIFEST = ManifestView(
    checkpoint="llama/rank-0",
    version=100,
    digest="d" * 64,
    is_here=True,
    bytes=26 * GIB,
    units=21,
    phases=(
        PhaseRow(name="core", units=12, bytes=2 * GIB, critical_bytes=4 * MIB),
        PhaseRow(name="rest", units=9, bytes=24 * GIB, critical_bytes=0),
    ),
    folds=(
        FoldRow(
            paths="*.json",
            units=8,
            bytes=4 * MIB,
            phase="core",
            criticality="critical",
            is_optional=False,
        ),
        FoldRow(
            paths="model.index",
            units=1,
            bytes=MIB,
            phase="core",
            criticality="normal",
            is_optional=False,
            after=("model-1", "model-2"),
            after_units=4,
        ),
        FoldRow(
            paths="optim-*.pt",
            units=9,
            bytes=24 * GIB,
            phase="rest",
            criticality="deferred",
            is_optional=True,
        ),
    ),
    links=2,
)

PLAN = Plan(
    checkpoint="llama/rank-0",
    version=100,
    why="newest of which every block is reachable",
    passed_over=(),
    is_settled=True,
    digest=DIGEST,
    bytes_total=2 * GIB,
    units=120,
    bytes_by_class=ClassBytes(critical=GIB // 2, normal=GIB, deferred=GIB // 2),
    sources=(
        PlanSource(
            node="node-b",
            path="node-b",
            state=SourceState.IDLE,
            bytes=2 * GIB,
            is_complete=True,
            rate_bytes_per_s=900.0 * MIB,
            latency_s=0.0021,
        ),
        PlanSource(
            node="node-c",
            path="node-c",
            state=SourceState.IDLE,
            bytes=GIB,
            is_complete=False,
            rate_bytes_per_s=None,
            latency_s=None,
        ),
    ),
    missing_critical_blocks=0,
    target="/data/llama/rank-0/100",
    needed_bytes=2 * GIB,
    room_bytes=2 * GIB,
    free_bytes=3 * GIB,
    predicted_critical_s=0.6,
    predicted_complete_s=2.3,
    prediction_remark="not counting node-c, whose rates are not known yet",
)
EXPLANATION = ExplanationView(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    stage=Stage.TRANSFERRING,
    why="newest of which every block is reachable",
    passed_over=(PassedOverRow(version=90, digest=DIGEST, why="older"),),
    bottleneck="network",
    waiting_for="",
    message="",
    peers=(
        PeerPart(
            node="node-b",
            path="node-b",
            code="used",
            sentence="gave 300 MiB, delivers 900 MiB/s",
            bytes=300 * MIB,
            share=0.586,
            rate_bytes_per_s=900 * MIB,
        ),
        PeerPart(
            node="node-d",
            path="node-d",
            code="not_held",
            sentence="does not hold the version",
            bytes=0,
            share=0.0,
            rate_bytes_per_s=0,
        ),
    ),
    wasted={"hedge": MIB, "corrupt": 2 * MIB},
    counts={"version_chosen": 1, "lane_late": 2},
    story=(
        Happening(
            at_s=1_700_000_000.2,
            after_s=0.2,
            kind="lane_late",
            reason="silent",
            sentence="node-c was silent for 620ms, allowed 500ms: cut off, not asked for 200ms",
            source="node-c",
            other=None,
            blocks=(3, 7),
            numbers={"silent_s": 0.62, "allowed_s": 0.5, "pause_s": 0.2},
        ),
    ),
)
STATUS = Status(
    node="node-a",
    ckptd_version="0.1.0",
    epoch=3,
    started_at_s=1_700_000_000.0,
    uptime_s=11_100.0,
    listen=ListenAddresses(data="0.0.0.0:7421", metrics=None, control="/run/ckptd/ckptd.sock"),
    roots=(RootRow(name="ckpt", path="/data", free_bytes=3 * GIB // 2),),
    checkpoints=2,
    peers=4,
    peers_reachable=3,
    recoveries=(),
    event_loop_lag_s=0.002,
)


PRIORITIZED = Prioritized(
    recovery="01J9QX", units=3, units_here=1, bytes=48 * MIB, bytes_here=16 * MIB
)
NEED_PROGRESS = NeedProgress(
    recovery="01J9QX",
    unit="model/a",
    is_prioritized=True,
    bytes_total=32 * MIB,
    bytes_here=8 * MIB,
    waiting_for="",
)
NEED_RESULT = NeedResult(
    recovery="01J9QX", unit="model/a", path="/data/.ckptd/01J9QX/model/a", is_placed=False
)
RELOADED = ReloadResult(applied=("log.level",), needs_restart=("listen.data",))
