"""``ckptctl reload`` and ``ckptctl whoami``: the configuration, and what it lets a caller do."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Iterator
from typing import Final

from ckptd.cli.ctl.verb import Verb, client_of, print_answer
from ckptd.cli.render.text import WIDTH, printable
from ckptd.control.routes import verbs_by_role
from ckptd.errors import ExitCode
from ckptd.model.words import Role

_RELOAD: Final = """\
Let the daemon read its configuration again and wait until it has. The file is
checked first and applied as a whole; one that cannot be used changes nothing and
ends this with 1. Keys that count only from the next start are named.
"""


def _role_lines() -> Iterator[str]:
    """Yield which verbs each role may use that those below it may not."""
    for role, verbs in verbs_by_role().items():
        if role is Role.STRANGER:
            continue
        names = textwrap.fill(
            ", ".join(verbs),
            WIDTH,
            initial_indent=f"  {role!s:8}  ",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
        yield names if role is Role.VIEWER else f"{names} as well"


_ROLES: Final = "\n".join(_role_lines())
_WHOAMI: Final = f"""\
Show who you are for the daemon and your role, which says what you may do:

{_ROLES}

Root and the daemon's user are admins; [control] of the configuration names others.
"""


def _reload(arguments: Namespace) -> ExitCode:
    result = client_of(arguments).reload()
    lines = [f"applied: {', '.join(result.applied) or 'nothing changed'}"]
    if result.needs_restart:
        lines.append(f"counts from the next start: {', '.join(result.needs_restart)}")
    print_answer(arguments, result, lines)
    return ExitCode.DONE


def _whoami(arguments: Namespace) -> ExitCode:
    caller = client_of(arguments).whoami()
    user = f" ({printable(caller.user)})" if caller.user else ""
    groups = ", ".join(map(str, caller.gids))
    print_answer(arguments, caller, [f"uid {caller.uid}{user} with groups {groups}: {caller.role}"])
    return ExitCode.DONE


VERBS: Final = (
    Verb("reload", "let the daemon read its configuration again", _reload, _RELOAD),
    Verb("whoami", "what the daemon lets you do", _whoami, _WHOAMI),
)
