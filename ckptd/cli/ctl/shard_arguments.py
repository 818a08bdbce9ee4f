"""Which shards of a job a recovery, a plan of one, or a wait is for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import utf8
from ckptd.config import launched_shard

_AUTO: Final = "auto"


def add_shards(parser: ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--shards",
        metavar="SHARDS",
        help="of a job: mine (configured, or what was here), all, auto (as the launcher says), "
        "or numbers: 3,7 or 0-3/8; default: mine",
    )


def typed_shards(arguments: Namespace) -> str:
    """Return what was typed, as the daemon takes it; empty: nothing.

    Raises:
        UsageError: No launcher says which rank this is, or it is not UTF-8.
    """
    if arguments.shards == _AUTO:
        return str(launched_shard(option="--shards"))
    return utf8(arguments.shards or "")
