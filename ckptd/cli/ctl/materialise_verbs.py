"""``ckptctl materialise``: a full version made of a chain of deltas."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import Verb, absolute, client_of, say, versioned
from ckptd.cli.render.live import follow_materialising
from ckptd.cli.render.materialise_text import materialised_lines
from ckptd.control.messages.materialising import MaterialiseRequest
from ckptd.errors import ExitCode

_MATERIALISE: Final = """\
Make the full version of one that was published as a delta: read the full one
that it stands on and each delta in between, all verified by their manifests,
apply them in turn and write new files. Each tensor that changed is summed up
and compared with what the last delta of it says. The directory appears as a
whole or not at all; a copy that stands there already is hashed, and nothing is
applied to it again.
What is not here is recovered first, to its usual place, by the fastest way: the
chain from what is here, from another full version, or what a peer has made and
published. --dry-run lists the ways.
Weights in other forms, which no delta is about, are left out.

examples:
  ckptctl materialise policy@46 --to /data/policy-46 --dry-run
  ckptctl materialise policy@46 --to /data/policy-46
  ckptctl materialise policy@46 --to /data/policy-46 --publish  # policy.full@46
  ckptctl materialise policy@46 --to /data/policy-46 -o json | jq .chain
"""


def _add_materialise(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME@VERSION", help="e.g. policy@46")
    parser.add_argument("--to", metavar="DIR", required=True, help="the directory to be made")
    parser.add_argument(
        "--digest", metavar="DIGITS", default="", help="which content, where there are several"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="publish it as the same version of NAME.full, for others to take",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _materialise(arguments: Namespace) -> ExitCode:
    checkpoint, version = versioned(arguments, "materialise")
    request = MaterialiseRequest(
        checkpoint=checkpoint,
        version=version,
        to=absolute(arguments.to),
        digest=arguments.digest,
        publish=arguments.publish,
        is_dry_run=arguments.dry_run,
    )
    as_json = arguments.output == "json"
    try:
        result = follow_materialising(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; nothing of it stays")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join(materialised_lines(result)))
    return ExitCode.DONE


VERBS: Final = (
    Verb(
        "materialise",
        "make the full version of one that is a delta",
        _materialise,
        _MATERIALISE,
        _add_materialise,
    ),
)
