"""Every row of the control API, both ends, with a stand-in daemon behind a real server."""

from __future__ import annotations

import http.client
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.copies import CopiesRequest
from ckptd.control.messages.current_links import ActivateRequest
from ckptd.control.messages.error_documents import is_result
from ckptd.control.messages.jobs import AdoptRequest, NewestRequest
from ckptd.control.messages.life_cycle import LetGoRequest, RemoveRequest
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.control.messages.manifests import ManifestRequest
from ckptd.control.messages.materialising import MaterialiseRequest
from ckptd.control.messages.observation import FollowQuery, LevelRequest
from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.prioritized import NeedRequest, PrioritizeRequest
from ckptd.control.messages.retention import CollectRequest
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.verifications import VerifyRequest
from ckptd.control.messages.waiting import WaitRequest
from ckptd.control.messages.workloads import WorkloadRequest
from ckptd.control.routes import ROUTES, Route
from ckptd.errors import NotPermitted
from ckptd.model.words import Role
from tests.support.callers import ordinary_user, roles_of
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import PEER_VIEW, VIEW

pytestmark = pytest.mark.integration

NAMES = {"node": PEER_VIEW.node, "recovery": VIEW.recovery}
REQUESTS: dict[object, msgspec.Struct] = {
    type(request): request
    for request in (
        PlanRequest(checkpoint="llama/rank-0", version=100, units=("model/*", "a b&c=d")),
        PublishRequest(directory="/data/x", checkpoint="a", version=3),
        VerifyRequest(checkpoint="a", version=3),
        NewestRequest(job="llama"),
        AdoptRequest(pattern="llama-rank-*", job="llama"),
        RecoverRequest(checkpoint="a"),
        PrioritizeRequest(pattern="a*"),
        NeedRequest(path="/data/x/model/a"),
        LetGoRequest(checkpoint="a", version=3),
        RemoveRequest(checkpoint="a", version=3),
        MaterialiseRequest(checkpoint="a", version=3, to="/data/x"),
        ActivateRequest(checkpoint="a", version=3),
        WaitRequest(checkpoint="a", version=3, goal="critical"),
        ManifestRequest(checkpoint="a", version=3, units=("model/*",)),
        CollectRequest(name="a", is_dry_run=True),
        CopiesRequest(name="llama"),
        WorkloadRequest(name="llama"),
        FollowQuery(since=5, follow=True),
        LevelRequest(level="debug", for_s=1.5),
        ChangeLimits(set={"ingress.total": "1MiB/s"}),
    )
}

every_row = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # everybody may pass; tmp_path lets nobody
        yield f"{directory}/ckptd.sock"


def taken_by(route: Route[..., object]) -> list[object]:
    """Return what a row takes."""
    names: list[object] = [NAMES[name] for name in route.shape.names]
    return names if route.shape.request is None else [*names, REQUESTS[route.shape.request]]


def is_of(value: object, kind: object) -> bool:
    """Tell whether a value is what a row answers: its JSON is that of the type."""
    encoded = msgspec.json.encode(value)
    decoded: object = msgspec.json.decode(encoded, type=kind)
    return decoded == value


def ask(socket_path: str, route: Route[..., object], query: str, body: bytes) -> tuple[int, str]:
    """Send a request as any HTTP client would; return the status and the code of the error."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(socket_path)
        connection = http.client.HTTPConnection("ckptd")
        connection.sock = connected
        with closing(connection):
            connection.request(route.method, route.path.format(**NAMES) + query, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["error"]["code"]


@every_row
def test_the_client_has_a_call_for_it_and_the_answer_is_what_the_row_says(
    path: str, route: Route[..., object]
) -> None:
    with serving(StandInDaemon(views=[VIEW]), path):
        answer = getattr(ControlClient(path), route.name)(*taken_by(route))
        if not route.shape.is_stream:
            assert is_of(answer, route.shape.answer)
            return
        assert isinstance(answer, Iterator)
        messages = list(answer)
    assert messages
    assert all(is_of(message, route.shape.answer) for message in messages)
    has_result = route.unfinished != "" or route.name in {"examine", "wait"}
    assert is_result(messages[-1]) == has_result


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.role > Role.STRANGER], ids=lambda route: route.name
)
def test_who_has_not_its_role_is_refused_and_nothing_is_done(
    path: str, route: Route[..., object]
) -> None:
    with ordinary_user() as uid:
        pass
    daemon = StandInDaemon(views=[VIEW])
    with serving(daemon, path, roles=roles_of(uid, Role(route.role - 1))):
        os.chmod(path, 0o666)
        call = getattr(ControlClient(path), route.name)
        refused = pytest.raises(NotPermitted, match=f"'{route.verb}' needs '{route.role}'")
        with ordinary_user(), refused:
            list(call(*taken_by(route)))
    assert daemon.calls == []


@every_row
def test_what_is_malformed_is_refused_in_the_same_way(path: str, route: Route[..., object]) -> None:
    if route.shape.request is None:
        return
    daemon = StandInDaemon(views=[VIEW])
    with serving(daemon, path):
        for query, body in (("?moon=full", b'{"moon": "full"}'), ("?since=x", b"nonsense")):
            assert ask(path, route, query, body) == (http.HTTPStatus.BAD_REQUEST, "usage")
    assert daemon.calls == []
