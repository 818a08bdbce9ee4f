"""The control API, one row a verb. Both ends of the socket, the roles and the manual read it here.

To add a verb: a row here, its messages in :mod:`ckptd.control.messages`, and a method of the
row's name in :mod:`ckptd.daemon.answer`. The type of a row says what it takes and answers, in the
order in which the client is called and the method is::

    prioritize: Route[[str, PrioritizeRequest], Prioritized]

takes what stands for ``{recovery}`` in the path, then a message: the query of a ``GET``, the body
of a ``POST``. A row that answers with an ``Iterator`` is a stream, one message a line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import (
    Final,
    Generic,
    NamedTuple,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import msgspec

from ckptd.control.messages.checkpoints import CheckpointRow, PublishEvent, PublishRequest
from ckptd.control.messages.copies import CopiesRequest, CopiesView
from ckptd.control.messages.current_links import Activated, ActivateRequest
from ckptd.control.messages.daemon_status import ReloadResult, Status, VersionDocument, WhoAmI
from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.jobs import Adopted, AdoptRequest, NewestRequest, NewestView
from ckptd.control.messages.life_cycle import LetGo, LetGoRequest, RemoveEvent, RemoveRequest
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.control.messages.manifests import ManifestRequest, ManifestView
from ckptd.control.messages.materialising import MaterialiseEvent, MaterialiseRequest
from ckptd.control.messages.observation import (
    DoctorMessage,
    EventMessage,
    FollowQuery,
    HealthView,
    LevelRequest,
    LevelView,
    LineMessage,
)
from ckptd.control.messages.peers import PeerRow, PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedRequest,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.messages.recovery_results import WatchEvent
from ckptd.control.messages.retention import CollectEvent, CollectRequest
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.control.messages.verifications import VerifyEvent, VerifyRequest
from ckptd.control.messages.waiting import WaitEvent, WaitRequest
from ckptd.control.messages.watched import WatchedRow
from ckptd.control.messages.workloads import WorkloadRequest, WorkloadView
from ckptd.model.words import Role

_Taken = ParamSpec("_Taken")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class Shape(NamedTuple):
    """What a verb takes and answers.

    Attributes:
        names: Names in the path, e.g. ``("recovery",)``; each stands for a string.
        request: The message that it takes; ``None`` if it takes none.
        answer: The type of its answer; of a stream, of each message.
        is_stream: It answers with a stream.
    """

    names: tuple[str, ...]
    request: type[msgspec.Struct] | None
    answer: object
    is_stream: bool


class Route(Generic[_Taken, _Answer_co]):
    """One verb of the control API: a row of :class:`Api`, and a call of each client.

    Attributes:
        name: What the row, the call of the client and the method behind it are named.
        method: ``GET`` or ``POST``.
        path: Where it is asked for, with ``{name}`` where a path varies.
        verb: What to type behind ``ckptctl``.
        role: The lowest that may.
        purpose: What it is for, in a few words.
        status: Of an answer that is no error.
        unfinished: What a client says of a stream that ends without a result; empty for one that
            may end at any message.
    """

    name: str

    def __init__(
        self,
        request: str,
        verb: str,
        role: Role,
        purpose: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        unfinished: str = "",
    ) -> None:
        self.method, self.path = request.split(" ")
        self.verb = verb
        self.role = role
        self.purpose = purpose
        self.status = status
        self.unfinished = unfinished

    def __set_name__(self, owner: type[Api], name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"

    @overload
    def __get__(self, client: None, owner: type[Api]) -> Self: ...

    @overload
    def __get__(self, client: Api, owner: type[Api]) -> Callable[_Taken, _Answer_co]: ...

    def __get__(self, client: Api | None, owner: type[Api]) -> Self | Callable[_Taken, _Answer_co]:
        """Return the row, or the call of a client."""
        if client is None:
            return self

        def call(*taken: _Taken.args, **_: _Taken.kwargs) -> _Answer_co:
            return cast("_Answer_co", client.ask(self, taken))

        return call

    @functools.cached_property
    def shape(self) -> Shape:
        """What it takes and answers, as the row is annotated."""
        taken, answer = get_args(_annotations()[self.name])
        names = tuple(re.findall(r"{(\w+)}", self.path))
        requests = taken[len(names) :]
        assert taken[: len(names)] == (str,) * len(names), f"{self}: a name is a string"
        assert len(requests) <= 1, f"{self}: there is one body"
        is_stream = get_origin(answer) is Iterator
        if is_stream:
            (answer,) = get_args(answer)
        return Shape(names, requests[0] if requests else None, answer, is_stream)


class Api:
    """All and only what the daemon serves on its control socket."""

    version: Route[[], VersionDocument] = Route(
        "GET /v1/version", "version", Role.STRANGER, "what the daemon runs"
    )
    whoami: Route[[], WhoAmI] = Route(
        "GET /v1/whoami", "whoami", Role.STRANGER, "who the caller is for the daemon"
    )
    status: Route[[], Status] = Route(
        "GET /v1/status", "status", Role.VIEWER, "the daemon at this moment"
    )
    checkpoints: Route[[], list[CheckpointRow]] = Route(
        "GET /v1/checkpoints",
        "checkpoints",
        Role.VIEWER,
        "what this node and its peers hold, by name, newest version first",
    )
    copies: Route[[CopiesRequest], CopiesView] = Route(
        "GET /v1/copies",
        "copies",
        Role.VIEWER,
        "copies of what this node lists, as it sees them: how many there are, and what is short",
    )
    workload: Route[[WorkloadRequest], WorkloadView] = Route(
        "GET /v1/workload",
        "checkpoints",
        Role.VIEWER,
        "what jobs that save do to this node: how often, how much, and how long that takes",
    )
    peers: Route[[], list[PeerRow]] = Route(
        "GET /v1/peers", "peers", Role.VIEWER, "the known peers, by address"
    )
    peer: Route[[str], PeerView] = Route(
        "GET /v1/peers/{node}", "peers show", Role.VIEWER, "all that is known of one peer"
    )
    plan: Route[[PlanRequest], Plan] = Route(
        "GET /v1/plan", "plan", Role.VIEWER, "what a recovery would do; begins nothing"
    )
    manifest: Route[[ManifestRequest], ManifestView] = Route(
        "GET /v1/manifest",
        "manifest",
        Role.VIEWER,
        "what a version consists of, here or at peers, and what is said of its units",
    )
    recoveries: Route[[], list[RecoveryView]] = Route(
        "GET /v1/recoveries",
        "recoveries",
        Role.VIEWER,
        "those that have not ended and the last 100 that have, newest first",
    )
    recovery: Route[[str], RecoveryView] = Route(
        "GET /v1/recoveries/{recovery}", "recoveries", Role.VIEWER, "one recovery"
    )
    watch: Route[[str], Iterator[WatchEvent]] = Route(
        "GET /v1/recoveries/{recovery}/events",
        "watch",
        Role.VIEWER,
        "progress once a second, the first at once, milestones, and last one result",
        unfinished="it stopped before the recovery ended",
    )
    wait: Route[[WaitRequest], Iterator[WaitEvent]] = Route(
        "GET /v1/waits",
        "wait",
        Role.VIEWER,
        "what is waited for, once a second and whenever that changes, and last one result; where "
        "too many wait the stream ends after one message, and is asked for again",
    )
    explain: Route[[str], ExplanationView] = Route(
        "GET /v1/recoveries/{recovery}/explanation",
        "explain",
        Role.VIEWER,
        "why a recovery goes as it does, or went",
    )
    watches: Route[[], list[WatchedRow]] = Route(
        "GET /v1/watches",
        "watches",
        Role.VIEWER,
        "saves in watched directories: what was seen, what was taken, and why something was not",
    )
    events: Route[[FollowQuery], Iterator[EventMessage]] = Route(
        "GET /v1/events", "events", Role.VIEWER, "what happened, and what happens"
    )
    lines: Route[[FollowQuery], Iterator[LineMessage]] = Route(
        "GET /v1/log", "logs", Role.VIEWER, "the last lines of the log, and those to come"
    )
    log_level: Route[[], LevelView] = Route(
        "GET /v1/log/level", "log-level", Role.VIEWER, "from which level on lines are logged"
    )
    health: Route[[], HealthView] = Route(
        "GET /v1/health", "health", Role.VIEWER, "whether the daemon is ready, for probes"
    )
    limits: Route[[], LimitsView] = Route(
        "GET /v1/limits", "limit get", Role.VIEWER, "what may move in a second"
    )
    publish: Route[[PublishRequest], Iterator[PublishEvent]] = Route(
        "POST /v1/publications",
        "publish",
        Role.OPERATOR,
        "hash a directory and serve it; closing the stream stops that",
        unfinished="it stopped before everything was published",
    )
    verify: Route[[VerifyRequest], Iterator[VerifyEvent]] = Route(
        "POST /v1/verifications",
        "verify",
        Role.OPERATOR,
        "hash what is on offer again; closing the stream stops that",
        unfinished="it stopped before everything was verified",
    )
    recover: Route[[RecoverRequest], RecoveryView] = Route(
        "POST /v1/recoveries",
        "recover",
        Role.OPERATOR,
        "begin a recovery",
        status=HTTPStatus.CREATED,
    )
    recover_matching: Route[[RecoverRequest], list[RecoveryView]] = Route(
        "POST /v1/matching-recoveries",
        "recover",
        Role.OPERATOR,
        "begin a recovery of each checkpoint that a pattern matches, or none",
        status=HTTPStatus.CREATED,
    )
    pause: Route[[str], RecoveryView] = Route(
        "POST /v1/recoveries/{recovery}/pause",
        "pause",
        Role.OPERATOR,
        "request no more ranges until it is resumed",
    )
    resume: Route[[str], RecoveryView] = Route(
        "POST /v1/recoveries/{recovery}/resume",
        "resume",
        Role.OPERATOR,
        "let a paused recovery go on",
    )
    cancel: Route[[str], RecoveryView] = Route(
        "POST /v1/recoveries/{recovery}/cancel",
        "cancel",
        Role.OPERATOR,
        "give a recovery up and remove what it has staged",
    )
    prioritize: Route[[str, PrioritizeRequest], Prioritized] = Route(
        "POST /v1/recoveries/{recovery}/prioritize",
        "prioritize",
        Role.OPERATOR,
        "let some units of a recovery go first",
    )
    need: Route[[NeedRequest], Iterator[NeedEvent]] = Route(
        "POST /v1/needs",
        "need",
        Role.OPERATOR,
        "let one unit go first; closing the stream does not take that back",
        unfinished="it stopped before the unit was here",
    )
    withdraw: Route[[LetGoRequest], LetGo] = Route(
        "POST /v1/withdrawals",
        "withdraw",
        Role.OPERATOR,
        "take versions off offer; publishing the directory again puts one back",
    )
    forget: Route[[LetGoRequest], LetGo] = Route(
        "POST /v1/forgettings", "forget", Role.OPERATOR, "forget versions; their files stay"
    )
    newest: Route[[NewestRequest], NewestView] = Route(
        "GET /v1/newest",
        "newest",
        Role.VIEWER,
        "the newest version of a job that is whole for all shards",
    )
    adopt: Route[[AdoptRequest], Adopted] = Route(
        "POST /v1/adoptions",
        "adopt",
        Role.OPERATOR,
        "publish versions that are here as shards of a job, without hashing them again",
    )
    materialise: Route[[MaterialiseRequest], Iterator[MaterialiseEvent]] = Route(
        "POST /v1/materialisations",
        "materialise",
        Role.OPERATOR,
        "make a full version of a delta version and what it stands on; closing the stream stops "
        "that, and nothing of it stays",
        unfinished="it stopped before the full version was made",
    )
    remove: Route[[RemoveRequest], Iterator[RemoveEvent]] = Route(
        "POST /v1/removals",
        "remove",
        Role.OPERATOR,
        "remove a version with its files; closing the stream stops that before the next directory",
        unfinished="it stopped before everything was removed",
    )
    activate: Route[[ActivateRequest], Activated] = Route(
        "POST /v1/activations",
        "activate",
        Role.OPERATOR,
        "let the link of a checkpoint lead to a version, or take it away",
    )
    collect: Route[[CollectRequest], Iterator[CollectEvent]] = Route(
        "POST /v1/collections",
        "gc",
        Role.OPERATOR,
        "remove what nothing keeps by the rules of [retention], or say what that is; closing the "
        "stream stops that before the next versions",
        unfinished="it stopped before all was removed that may go",
    )
    examine: Route[[], Iterator[DoctorMessage]] = Route(
        "POST /v1/examinations",
        "doctor",
        Role.OPERATOR,
        "look for what could be in the way of a recovery",
    )
    set_log_level: Route[[LevelRequest], LevelView] = Route(
        "POST /v1/log/level", "log-level LEVEL", Role.OPERATOR, "change the level of the log"
    )
    change_limits: Route[[ChangeLimits], LimitsView] = Route(
        "POST /v1/limits", "limit set", Role.OPERATOR, "set limits, or forget what was set"
    )
    reload: Route[[], ReloadResult] = Route(
        "POST /v1/reload",
        "reload",
        Role.ADMIN,
        "read the configuration again and apply it as a whole, or say why not",
    )

    def __init__(self, ask: Callable[[Route[..., object], Sequence[object]], object]) -> None:
        """Let the rows be called.

        Args:
            ask: Makes a request of a row, with what it takes in order; returns the answer.
        """
        self.ask = ask


@functools.cache
def _annotations() -> Mapping[str, object]:
    return get_type_hints(Api)


ROUTES: Final = tuple(row for row in vars(Api).values() if isinstance(row, Route))
"""All rows of the API."""


def verbs_by_role() -> dict[Role, list[str]]:
    """Return which role may use which commands that those below it may not."""
    verbs: dict[Role, list[str]] = {role: [] for role in Role}
    for route in ROUTES:
        if " " not in route.verb and route.verb not in verbs[route.role]:
            verbs[route.role].append(route.verb)
    return verbs
