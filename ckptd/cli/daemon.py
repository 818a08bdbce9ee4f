"""``ckptd``: run the daemon, check its configuration."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ckptd import __version__
from ckptd.cli.streams import StandardStreams, open_missing_descriptors
from ckptd.config import Address, Config, load_config
from ckptd.config.sections import LimitSpan
from ckptd.errors import CkptdError, ExitCode
from ckptd.model.quantities import format_rate, format_size
from ckptd.model.rate_limits import UNLIMITED

DEFAULT_CONFIG: Final = "/etc/ckptd/ckptd.toml"

_EXIT_CODES: Final = f"""\
exit codes:
  0   done
  1   failed
  2   the command line makes no sense
  {ExitCode.STATE_IN_USE:d}  another daemon has the state directory
  {ExitCode.CONFIGURATION:d}  the configuration cannot be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    open_missing_descriptors()
    options = _parser().parse_args(arguments)
    if options.command == "run":  # its log outlives a disk that is full for a while
        code, complaint = _outcome(options)
    else:
        with StandardStreams() as streams:
            code, complaint = _outcome(options)
            if not complaint:
                code, complaint = streams.settle(code)
    if complaint:
        print(f"ckptd: {complaint}", file=sys.stderr)
    return code


def _outcome(options: argparse.Namespace) -> tuple[int, str]:
    """Carry a command out; return the exit code, and what went wrong if anything did."""
    try:
        return _carry_out(options), ""
    except CkptdError as error:
        return error.exit_code, str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ckptd",
        description="Recovers checkpoints of this node from its peers. "
        "ckptctl talks to the daemon while it runs.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ckptd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.add_argument(
        "--config", metavar="FILE", default=DEFAULT_CONFIG, help="configuration (%(default)s)"
    )
    run.add_argument(
        "--move-damaged-state",
        action="store_true",
        help="if the state database cannot be read, put it aside and begin with an empty one; "
        "versions have to be published again",
    )

    check = commands.add_parser(
        "check-config", help="check a configuration and show what is in effect"
    )
    check.add_argument(
        "config", metavar="FILE", nargs="?", default=DEFAULT_CONFIG, help="(%(default)s)"
    )
    check.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="(%(default)s)"
    )

    commands.add_parser("version", help="show the version")
    return parser


def _carry_out(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            return _run(options.config, move_damaged_state=options.move_damaged_state)
        case "check-config":
            _show(options.config, load_config(options.config), output=options.output)
        case _:
            print(f"ckptd {__version__}")
    return ExitCode.DONE


def _run(path: str, *, move_damaged_state: bool) -> int:
    config = load_config(path)
    # Not at the top: it imports asyncio, aiohttp and more that no other command needs.
    from ckptd.daemon.app import run  # noqa: PLC0415

    return run(config, load=lambda: load_config(path), move_damaged_state=move_damaged_state)


def _show(path: str, config: Config, *, output: str) -> None:
    sections = {
        name: _plain_table(getattr(config, name))
        for name in config.__struct_fields__
        if name != "environment" and getattr(config, name) is not None
    }
    if output == "json":
        print(json.dumps({"file": path, "config": sections}, indent=2))
        return
    rows = dict(
        _row(section, key, value)
        for section, table in sections.items()
        for key, value in table.items()
    )
    width = max(map(len, rows))
    print(f"{path}: valid")
    for key, cell in rows.items():
        print(f"  {key:{width}}  {cell}")


def _plain_table(section: msgspec.Struct | Mapping[str, str]) -> dict[str, object]:
    if isinstance(section, msgspec.Struct):
        return {name: _plain(getattr(section, name)) for name in section.__struct_fields__}
    return dict(section)


def _plain(value: object) -> object:
    match value:
        case Address():
            return str(value)
        case Mapping():
            return {str(key): each for key, each in value.items()}
        case LimitSpan():
            return {"span": str(value.span), "rates": _plain(value.rates)}
        case tuple():
            return tuple(_plain(each) for each in value)
        case _:
            return value


def _row(section: str, key: str, value: object) -> tuple[str, str]:
    """Return key and value as they stand in the file."""
    match value:
        case None:
            cell = "off"
        case bool():
            cell = str(value).lower()
        case float() if key.endswith("_s"):
            key, cell = key.removesuffix("_s"), f"{value:g}s"
        case int() if key.endswith("_bytes_per_s"):
            key, cell = key.removesuffix("_bytes_per_s"), format_rate(value)
        case int() if key.endswith("_bytes"):
            key, cell = key.removesuffix("_bytes"), format_size(value)
        case int() if key.endswith("_s"):
            key, cell = key.removesuffix("_s"), _duration(value)
        case tuple():
            cell = ", ".join(map(_words, value)) or "none"
        case dict():
            cell = _words(value) or "none"
        case _:
            cell = str(value)
    return f"{section}.{key}", cell


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _words(value: object) -> str:
    match value:
        case {"span": span, "rates": rates}:
            return f"{span}: {_words(rates)}"
        case dict():
            return ", ".join(
                f"{key} {UNLIMITED if rate is None else format_rate(rate)}"
                for key, rate in value.items()
            )
        case _:
            return str(value)


if __name__ == "__main__":
    sys.exit(main())
