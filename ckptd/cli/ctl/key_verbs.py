"""``ckptctl keys``: the keys that sign manifests, and those that are trusted.

No daemon is asked: these are files, and the daemon reads them when it starts or is reloaded.
"""

from __future__ import annotations

import argparse
import os
from typing import Final

from ckptd.cli.pki.key_files import add_trusted_key, write_signing_key
from ckptd.cli.render.text import json_line, printable
from ckptd.errors import ExitCode
from ckptd.store.files.keys import (
    DEFAULT_KEY,
    DEFAULT_TRUSTED,
    Patterns,
    PublicKey,
    SigningKey,
    TrustedKey,
    read_trusted_keys,
)

_KEYS: Final = """\
Make and show the key that this node signs manifests with, and the keys whose
signatures count here. All of it is files; no daemon is asked.

examples:
  ckptctl keys init
  ckptctl keys trust ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
  ckptctl keys show
"""

_INIT: Final = """\
Draw a key, write it to a new file with mode 0600, and print its public key.
Name the file in signatures.key, and the node signs what it publishes from its
next start on. Give every node that recovers the public key: ckptctl keys trust.

examples:
  ckptctl keys init
  ckptctl keys init --key /etc/ckptd/signing-key-2027
"""

_SHOW: Final = """\
Show this node's key and those that are trusted, as they stand in the files.

examples:
  ckptctl keys show
  ckptctl keys show -o json | jq -r '.key.public_key'
"""

_TRUST: Final = """\
Append a public key to the file of trusted keys. Several are trusted at once: to
change a key, trust the new one everywhere, then sign with it, then remove the
line of the old one. A daemon reads the file when it starts or is reloaded.

examples:
  ckptctl keys trust ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
  ckptctl keys trust ed25519:Gb9E…xZuE= --for 'llama/*' --comment 'trainer a'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be typed behind ``ckptctl keys``."""
    parser.description = _KEYS
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add(actions, "init", "draw a key to sign with", _INIT)
    _add(actions, "show", "this node's key, and the trusted ones", _SHOW)
    trust = _add(actions, "trust", "let signatures by a key count", _TRUST)
    trust.add_argument("public_key", metavar="PUBLIC_KEY", help="ed25519:BASE64")
    trust.add_argument(
        "--for",
        dest="patterns",
        metavar="PATTERN",
        action="append",
        help="checkpoints it may sign; may be given several times; default: all",
    )
    trust.add_argument("--comment", metavar="TEXT", default="", help="whose key it is")


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    action: str,
    purpose: str,
    description: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        action,
        help=purpose,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if action in {"init", "show"}:
        parser.add_argument("--key", metavar="FILE", default=DEFAULT_KEY, help="(%(default)s)")
    if action in {"show", "trust"}:
        parser.add_argument(
            "--trusted", metavar="FILE", default=DEFAULT_TRUSTED, help="(%(default)s)"
        )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="default: table"
    )
    return parser


def run(arguments: argparse.Namespace) -> ExitCode:
    """Do what was typed."""
    match arguments.action:
        case "init":
            key = SigningKey.draw()
            write_signing_key(arguments.key, key)
            public = key.public
            _print(arguments, {"id": public.id, "public_key": public.text}, [public.text])
        case "show":
            _show(arguments)
        case _:
            _trust(arguments)
    return ExitCode.DONE


def _show(arguments: argparse.Namespace) -> None:
    key = SigningKey.read(arguments.key).public if os.path.lexists(arguments.key) else None
    is_there = os.path.lexists(arguments.trusted)
    trusted = read_trusted_keys(arguments.trusted) if is_there else {}
    row = None
    lines = [f"no key in {printable(arguments.key)}"]
    if key is not None:
        row = {"id": key.id, "public_key": key.text, "is_trusted": key.id in trusted}
        remark = "" if key.id in trusted else "  (not among the trusted keys)"
        lines = [f"key      {key.id}  {key.text}{remark}"]
    lines += [f"trusted  {each.public.id}  {printable(each.line)}" for each in trusted.values()]
    if not trusted:
        lines.append(f"no trusted keys in {printable(arguments.trusted)}")
    document = {
        "key": row,
        "trusted": [
            {
                "id": each.public.id,
                "public_key": each.public.text,
                "patterns": None if each.allowed is None else list(each.allowed.texts),
                "comment": each.comment,
            }
            for each in trusted.values()
        ],
    }
    _print(arguments, document, lines)


def _trust(arguments: argparse.Namespace) -> None:
    key = TrustedKey(
        PublicKey.parse(arguments.public_key),
        Patterns(arguments.patterns) if arguments.patterns else None,
        arguments.comment.strip(),
    )
    is_new = add_trusted_key(arguments.trusted, key)
    done = "is trusted now" if is_new else "was trusted already"
    lines = [f"key {key.public.id} {done}, in {printable(arguments.trusted)}"]
    _print(arguments, {"id": key.public.id, "file": arguments.trusted, "is_new": is_new}, lines)


def _print(arguments: argparse.Namespace, document: object, lines: list[str]) -> None:
    print(json_line(document) if arguments.output == "json" else "\n".join(lines))
