"""``ckptctl tls``: the certificates by which nodes know each other. No daemon is asked."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ckptd.cli.ctl.verb import terminal_width
from ckptd.cli.pki.authority import Authority, CertificateFacts, certificate_facts
from ckptd.cli.render.text import WIDTH, json_line, printable, table, wrapped_to
from ckptd.copies.zones import parse_zone
from ckptd.errors import ExitCode, NotFound
from ckptd.model.ids import parse_node_id

_PATH_SHOWN_MAX: Final = 24
"""Of a longer path the name is shown: what is before it was typed, and is in the JSON."""

_DESCRIPTION: Final = """\
Make the certificates by which nodes know each other. Whoever has ca.key decides
who is in the cluster: keep it off the nodes. No daemon is needed.

examples:
  ckptctl tls init --dir ca         # an authority: ca/ca.crt and ca/ca.key, 5 years
  ckptctl tls issue node-a --dir ca ca/node-a.crt and ca/node-a.key, 1 year
  ckptctl tls issue node-b --dir ca --zone row-1/rack-7
                                    its certificate says in which zone it is
  ckptctl tls renew node-a --dir ca a new certificate for the same key, and zone
  ckptctl tls show --dir ca         # who, by whom, how many days are left

A node needs ca.crt, NODE.crt and NODE.key, and notices within a minute when they
change. To replace an authority, give every node both in one file (cat old/ca.crt
new/ca.crt), then new certificates, then the new authority alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``ckptctl tls`` takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make the cluster's authority")
    issue = actions.add_parser("issue", help="make keys and certificates of nodes")
    renew = actions.add_parser("renew", help="make a new certificate for the key of a node")
    show = actions.add_parser("show", help="say what certificates are there and for how long")
    issue.add_argument("nodes", metavar="NODE", nargs="+", help="its node.id")
    renew.add_argument("node", metavar="NODE", help="its node.id")
    issue.add_argument(
        "--zone", metavar="ZONE", default="", help="where it is: row-1/rack-7, the widest first"
    )
    renew.add_argument("--zone", metavar="ZONE", help="where it is now; '' not to say (as before)")
    for action in (init, issue):
        action.add_argument("--force", action="store_true", help="replace files that exist")
    show.add_argument("files", nargs="*", metavar="FILE", help="default: every *.crt")
    show.add_argument("-o", "--output", choices=("table", "json"), default="table")
    for action in (init, issue, renew, show):
        action.allow_abbrev = False
        action.add_argument(
            "--dir", metavar="DIR", default=".", help="the authority's directory (%(default)s)"
        )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Carry out one action.

    Raises:
        CkptdError: It cannot be done.
    """
    authority = Authority(arguments.dir)
    match arguments.action:
        case "init":
            authority.create(force=arguments.force)
            print(f"{printable(authority.certificate_path)}  for every node; keep ca.key here")
        case "issue":
            zone = parse_zone(arguments.zone)
            for node in [parse_node_id(node) for node in arguments.nodes]:
                paths = authority.issue(node, zone=zone, force=arguments.force)
                print("\n".join(map(printable, paths)))
        case "renew":
            moved = None if arguments.zone is None else parse_zone(arguments.zone)
            print(printable(authority.renew(parse_node_id(arguments.node), zone=moved)))
        case _:
            _show(arguments)
    return ExitCode.DONE


def _show(arguments: argparse.Namespace) -> None:
    files = arguments.files or sorted(glob.glob(os.path.join(glob.escape(arguments.dir), "*.crt")))
    if not files:
        raise NotFound(
            f"certificates in {arguments.dir}",
            "are not there",
            "Make an authority with 'ckptctl tls init', or name its directory with --dir.",
        )
    facts = [one for file in files for one in certificate_facts(file)]
    if arguments.output == "json":
        print(json_line(facts))
        return
    print("\n".join(_lines(facts, min(terminal_width() or WIDTH, WIDTH))))


def _lines(facts: Sequence[CertificateFacts], width: int) -> list[str]:
    """List certificates: each has a row, and below it who signed it and its serial number."""
    header, *rows = table(
        ("FILE", "FOR", "DAYS LEFT", "UNTIL"),
        [_row(one) for one in facts],
        width,
        whole=("DAYS LEFT", "UNTIL"),
        left_out=("UNTIL",),
    )
    lines = [header]
    for row, one in zip(rows, facts, strict=True):
        by = f"  by {printable(one.issuer)}, serial {printable(one.serial)}"
        by += f", zone {printable(one.zone)}" if one.zone else ""
        lines += [row, *wrapped_to(by, width)]
    return lines


def _row(one: CertificateFacts) -> tuple[str, ...]:
    who = f"authority {one.who}" if one.is_authority else one.who
    days = str(one.days_left) if one.days_left >= 0 else "expired"
    if datetime.fromisoformat(one.not_before) > datetime.now(UTC):
        days = "not yet valid"
    file = one.file
    if len(file) > _PATH_SHOWN_MAX:
        file = f"…/{os.path.basename(file)}"
    return (file, who, days, one.not_after[:10])
