from __future__ import annotations

import pytest

from ckptd.control.roles import Caller, Members, Roles
from ckptd.control.routes import ROUTES, Api, Route
from ckptd.errors import ExitCode, NotPermitted
from ckptd.model.words import Role

DAEMON = 990
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


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_right_is_had_from_its_role_upwards(route: Route[..., object]) -> None:
    for uid in (99, 12, 11, 10, 0):
        who = caller(uid)
        if ROLES.role_of(who) >= route.role:
            ROLES.check(who, route.role, verb=route.verb)
        else:
            with pytest.raises(NotPermitted):
                ROLES.check(who, route.role, verb=route.verb)


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
        roles.check(caller(1001, 1001), Api.recover.role, verb=Api.recover.verb, user=user)
    assert str(refused.value) == sentence
    assert refused.value.exit_code is ExitCode.NOT_PERMITTED
