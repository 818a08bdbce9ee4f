"""Arguments that say which units of a version somebody wants."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_choice(parser: ArgumentParser) -> None:
    """Add the arguments that choose units: ``units`` and ``min``."""
    parser.add_argument(
        "--units",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only units whose paths match: 'model/*'; may be given several times",
    )
    parser.add_argument(
        "--min",
        choices=("critical",),
        help="end when units so urgent are placed; the rest follows in the background",
    )


def object_to_choice(arguments: Namespace) -> str:
    """Say why those that were given cannot be; empty: they can."""
    is_both = arguments.units and arguments.min
    return "--units and --min cannot be given together" if is_both else ""
