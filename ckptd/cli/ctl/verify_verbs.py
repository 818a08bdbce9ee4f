"""``ckptctl verify``: whether what this node has on offer is what was published."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.recovery_verbs import follow
from ckptd.cli.ctl.verb import Verb, client_of, say
from ckptd.cli.render.live import follow_verifying
from ckptd.cli.render.verify_text import bad_unit_lines, verified_lines
from ckptd.control.messages.verifications import VerifyRequest
from ckptd.errors import ExitCode
from ckptd.model.ids import parse_reference

_VERIFY: Final = """\
Read everything that this node has on offer from its disk, or one version of
it, and hash it again, as fast as the machine can. What is not right is listed,
and not served any more. The daemon does the same by itself now and then: see
[scrub] in its configuration.
Ends with 8 if something is not right; with --repair as the recoveries that put
it right do, which are waited for. What somebody changed they leave alone.

examples:
  ckptctl verify                       # everything
  ckptctl verify llama/rank-3          # all versions of it
  ckptctl verify llama/rank-3@1200 --repair
  ckptctl verify -o json | jq -r 'select(.type == "unit") | .path'
"""


def _add_verify(parser: ArgumentParser) -> None:
    parser.add_argument(
        "reference", metavar="NAME[@VERSION]", nargs="?", help="e.g. llama/rank-3@1200"
    )
    parser.add_argument(
        "--repair", action="store_true", help="fetch what is wrong or missing, and put it right"
    )


def _verify(arguments: Namespace) -> ExitCode:
    checkpoint, version = (
        (None, None) if arguments.reference is None else parse_reference(arguments.reference)
    )
    as_json = arguments.output == "json"
    request = VerifyRequest(checkpoint=checkpoint, version=version, repair=arguments.repair)
    try:
        bad, repairs, result = follow_verifying(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; what was found so far counts")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join([*bad_unit_lines(bad), *verified_lines(result)]))
    unread = ExitCode.VERIFICATION if result.unread_units else ExitCode.DONE
    if repairs:
        ended = [follow(arguments, repair.recovery, None) for repair in repairs]
        return next((code for code in ended if code is not ExitCode.DONE), unread)
    return ExitCode.VERIFICATION if result.changed_units else unread


VERBS: Final = (Verb("verify", "hash what is on offer here again", _verify, _VERIFY, _add_verify),)
