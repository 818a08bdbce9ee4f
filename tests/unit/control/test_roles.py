from __future__ import annotations

import re

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.ctl.verbs import VERBS
from ckptd.control.roles import RIGHTS, Caller, Members, Right, Roles, Route
from ckptd.errors import ExitCode, NotPermitted
from ckptd.model.words import Role

DAEMON = 990
RECOVER = RIGHTS[Route("POST", "/v1/recoveries")]
ROLES = Roles(
    DAEMON,
    {
        Role.ADMIN: Members({"root-like": 10}, {"wheel": 20}),
        Role.OPERATOR: Members({"olga": 11}, {"ckptd-operators": 21, "1021": 1021}),
        Role.VIEWER: Members({"vera": 12}, {"ckptd-viewers": 22}),
    },
)
OPEN = Roles(DAEMON, {Role.OPERATOR: Members({}, {"ckptd-operators": 21})})


def caller(uid: int, *gids: int) -> Caller:
    return Caller(uid, frozenset(gids))


@pytest.mark.parametrize(
    ("who", "role"),
    [
        (caller(0, 0), Role.ADMIN),
        (caller(DAEMON, 5), Role.ADMIN),
        (caller(10), Role.ADMIN),
        (caller(99, 5, 20), Role.ADMIN),
        (caller(11, 20), Role.ADMIN),
        (caller(11), Role.OPERATOR),
        (caller(99, 5, 21), Role.OPERATOR),
        (caller(99, 1021), Role.OPERATOR),
        (caller(12, 21), Role.OPERATOR),
        (caller(12), Role.VIEWER),
        (caller(99, 22), Role.VIEWER),
        (caller(99, 5), Role.STRANGER),
        (caller(21, 11), Role.STRANGER),  # a user is no group
        (caller(99), Role.STRANGER),
    ],
)
def test_the_highest_role_counts(who: Caller, role: Role) -> None:
    assert ROLES.role_of(who) is role


def test_whoever_can_open_the_socket_is_a_viewer_if_no_viewer_is_named() -> None:
    assert OPEN.role_of(caller(99)) is Role.VIEWER
    assert Roles(DAEMON, {}).role_of(caller(99)) is Role.VIEWER


@pytest.mark.parametrize("right", RIGHTS.values(), ids=lambda right: right.verb)
def test_a_right_is_had_from_its_role_upwards(right: Right) -> None:
    for uid in (99, 12, 11, 10, 0):
        who = caller(uid)
        if ROLES.role_of(who) >= right.role:
            ROLES.check(who, right)
        else:
            with pytest.raises(NotPermitted):
                ROLES.check(who, right)


@pytest.mark.parametrize(
    ("roles", "user", "sentence"),
    [
        (
            OPEN,
            "alice",
            (
                "permission denied: uid 1001 (alice) is 'viewer'; 'recover' needs 'operator'. "
                "Ask an admin to add you to group ckptd-operators (control.operator_groups)."
            ),
        ),
        (
            ROLES,
            "",
            (
                "permission denied: uid 1001 is 'stranger'; 'recover' needs 'operator'. "
                "Ask an admin to add you to group ckptd-operators (control.operator_groups)."
            ),
        ),
        (
            Roles(DAEMON, {}),
            "alice",
            (
                "permission denied: uid 1001 (alice) is 'viewer'; 'recover' needs 'operator'. "
                "Ask an admin to name you in control.operator_users and to run 'ckptctl reload'."
            ),
        ),
    ],
)
def test_a_refusal_names_the_caller_what_is_missing_and_the_remedy(
    roles: Roles, user: str, sentence: str
) -> None:
    with pytest.raises(NotPermitted) as refused:
        roles.check(caller(1001, 1001), RECOVER, user=user)
    assert str(refused.value) == sentence
    assert refused.value.exit_code is ExitCode.NOT_PERMITTED


def test_only_looking_is_for_viewers() -> None:
    for route, right in RIGHTS.items():
        assert (route.method == "GET") == (right.role <= Role.VIEWER), right.verb


def test_every_command_that_asks_the_daemon_has_a_right_and_the_other_way_round() -> None:
    rights = {right.verb.partition(" ")[0] for right in RIGHTS.values()}
    assert rights - {"version"} == VERBS.keys()


def test_the_help_of_whoami_tells_the_roles_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ckptctl(["whoami", "--help"])
    text = capsys.readouterr().out
    told = dict(re.findall(r"^  (\w+) +(.+(?:\n {12}.+)*)$", text, re.MULTILINE))
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        verbs = set(re.split(r",\s+", told[str(role)].removesuffix(" as well")))
        expected = {right.verb for right in RIGHTS.values() if right.role is role}
        assert verbs == {verb for verb in expected if " " not in verb}
