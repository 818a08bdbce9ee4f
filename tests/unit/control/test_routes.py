from __future__ import annotations

import re

import pytest

from ckptd.cli.ctl.arguments import VERBS
from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.checkpoints import PublishEvent, PublishRequest
from ckptd.control.messages.peers import PeerRow
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import Prioritized, PrioritizeRequest
from ckptd.control.messages.recovery_results import WatchEvent
from ckptd.control.routes import ROUTES, Api, Route, Shape
from ckptd.model.words import Role


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
