from __future__ import annotations

import grp
import os
import pwd

import pytest

from ckptd.config.sections import ControlSection
from ckptd.control.roles import Caller, Members
from ckptd.daemon.settings.access import find_roles
from ckptd.errors import ConfigurationError
from ckptd.model.words import Role

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


def test_names_and_numbers_become_numbers() -> None:
    control = ControlSection(
        admin_users=(USER, "4000000001"), operator_groups=("4000000002", GROUP)
    )
    roles = find_roles(control)
    assert roles.daemon_uid == os.geteuid()
    assert roles.members[Role.ADMIN] == Members({USER: os.geteuid(), "4000000001": 4000000001}, {})
    assert roles.members[Role.OPERATOR].groups == {"4000000002": 4000000002, GROUP: os.getegid()}
    assert roles.role_of(Caller(4000000001, frozenset())) is Role.ADMIN


@pytest.mark.parametrize("key", ControlSection.__struct_fields__)
def test_a_name_that_is_not_known_is_refused_with_its_key(key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        find_roles(ControlSection(**{key: ("no-such-account",)}))
    assert refused.value.subject == f"control.{key}"
    kind = "group" if key.endswith("groups") else "user"
    assert refused.value.problem == f"{kind} 'no-such-account' is not known on this machine"
