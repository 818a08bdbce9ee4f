from __future__ import annotations

import re

import pytest

from ckptd.cli.ctl.arguments import VERBS
from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.checkpoints import PublishEvent, PublishRequest
from ckptd.control.messages.peers import PeerRow, PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import Prioritized, PrioritizeRequest
from ckptd.control.messages.recovery_results import WatchEvent
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.control.roles import Roles
from ckptd.control.routes import ROUTES, Api, Route, Shape
from ckptd.control.server.dispatch import OwnAnswers
from ckptd.control.server.handlers import Answering, bind, methods_by_name
from ckptd.daemon.answer.daemon_answers import DaemonAnswers
from ckptd.daemon.answer.peer_answers import PeerAnswers
from ckptd.daemon.answer.plan_answers import PlanAnswers
from ckptd.daemon.answer.prioritize_answers import PrioritizeAnswers
from ckptd.daemon.answer.publish_answers import PublishAnswers
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.answer.watch_answers import WatchAnswers
from ckptd.model.words import Role
from tests.support.control import StandInDaemon
from tests.support.observing import StandInObserving

ROLES = Roles(0, {})


def daemon_methods() -> dict[str, Answering]:
    """Return what the daemon answers with; it needs no parts to be looked at."""
    kinds = (
        OwnAnswers,
        RecoveryAnswers,
        PrioritizeAnswers,
        PlanAnswers,
        PublishAnswers,
        PeerAnswers,
        DaemonAnswers,
        WatchAnswers,
    )
    return methods_by_name(object.__new__(kind) for kind in kinds)


@pytest.mark.parametrize(
    ("route", "shape"),
    [
        (Api.peers, Shape((), None, list[PeerRow], is_stream=False)),
        (Api.plan, Shape((), PlanRequest, Plan, is_stream=False)),
        (
            Api.prioritize,
            Shape(("recovery",), PrioritizeRequest, Prioritized, is_stream=False),
        ),
        (Api.publish, Shape((), PublishRequest, PublishEvent, is_stream=True)),
        (Api.watch, Shape(("recovery",), None, WatchEvent, is_stream=True)),
    ],
    ids=lambda value: value.name if isinstance(value, Route) else "",
)
def test_the_type_of_a_row_says_what_it_takes_and_answers(
    route: Route[..., object], shape: Shape
) -> None:
    assert route.shape == shape


def test_no_two_rows_are_asked_for_in_the_same_way() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_the_daemon_and_its_stand_in_answer_all_and_only_the_rows() -> None:
    stand_in = (StandInDaemon(), StandInObserving(), OwnAnswers(lambda: ROLES))
    for methods in (daemon_methods(), methods_by_name(stand_in)):
        bound = bind(methods)
        assert {route: method.__name__ for route, method in bound.items()} == {
            route: route.name for route in ROUTES
        }


class Misfits:
    """Methods that do not fit the row of their name."""

    def peer(self) -> PeerView:
        raise NotImplementedError

    def peers(self) -> tuple[PeerRow, ...]:
        raise NotImplementedError

    async def plan(self, request: PrioritizeRequest) -> Plan:
        raise NotImplementedError

    async def watch(self, recovery: str) -> WatchEvent:
        raise NotImplementedError

    async def cancel(self, node: str) -> RecoveryView:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["peer", "peers", "plan", "watch", "cancel"])
def test_a_method_that_does_not_fit_its_row_is_found_at_the_start(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^'{name}' takes .*; its row takes "):
        bind(daemon_methods() | {name: methods_by_name([Misfits()])[name]})


def test_a_row_without_a_method_and_a_method_without_a_row_are_found_at_the_start() -> None:
    methods = daemon_methods()
    methods["reboot"] = methods.pop("reload")
    with pytest.raises(TypeError, match="only a row or only a method: reboot, reload"):
        bind(methods)


def test_two_methods_for_one_row_are_found_at_the_start() -> None:
    with pytest.raises(TypeError, match=r"^'cancel' is answered by "):
        methods_by_name([StandInDaemon(), Misfits()])


def test_only_looking_is_for_viewers() -> None:
    for route in ROUTES:
        assert (route.method == "GET") == (route.role <= Role.VIEWER), route.verb


def test_every_command_that_asks_the_daemon_has_a_row_and_the_other_way_round() -> None:
    verbs = {route.verb.partition(" ")[0] for route in ROUTES}
    assert verbs == {verb.name for verb in VERBS.values() if not verb.is_offline}


def test_the_help_of_whoami_tells_the_roles_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ckptctl(["whoami", "--help"])
    text = capsys.readouterr().out
    told = dict(re.findall(r"^  (\w+) +(.+(?:\n {12}.+)*)$", text, re.MULTILINE))
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        verbs = set(re.split(r",\s+", told[str(role)].removesuffix(" as well")))
        expected = {route.verb for route in ROUTES if route.role is role}
        assert verbs == {verb for verb in expected if " " not in verb}
