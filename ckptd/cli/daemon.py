"""``ckptd``: run the daemon, check its configuration."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from ckptd import __version__
from ckptd.cli.streams import StandardStreams, open_missing_descriptors
from ckptd.config import Address, Config, load_config, load_stated
from ckptd.config.copy_values import CheckpointCopies
from ckptd.config.recover_tables import RecoverTable
from ckptd.config.sections import CheckpointRetention, JobSection, LimitSpan, RootRecovery
from ckptd.errors import CkptdError, ConfigurationError, ExitCode, UsageError
from ckptd.model.policy.configured import ConfiguredPolicy
from ckptd.model.quantities import format_rate, format_size
from ckptd.model.rate_limits import UNLIMITED
from ckptd.model.retention import FreeRoom

DEFAULT_CONFIG: Final = "/etc/ckptd/ckptd.toml"

_CELL_WIDTH_MAX: Final = 40
"""A value that is longer does not move what stands behind the others."""

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
    except ConfigurationError as error:
        return error.exit_code, "\nckptd: ".join(map(str, (error, *error.others)))
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
        "check-config",
        help="do every check of a start that needs no port, and show what is in effect",
    )
    check.add_argument(
        "config", metavar="FILE", nargs="?", default=DEFAULT_CONFIG, help="(%(default)s)"
    )
    check.add_argument(
        "--file-only",
        action="store_true",
        help="only what is stated, not this machine's directories, accounts, certificates and keys",
    )
    check.add_argument(
        "--user",
        metavar="NAME",
        help="check as this user, that of the daemon; as root only (default: who calls)",
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
            config, stated = load_stated(options.config)
            if not options.file_only:
                _check_machine(config, options.user)
            _show(options.config, config, stated, output=options.output)
        case _:
            print(f"ckptd {__version__}")
    return ExitCode.DONE


def _run(path: str, *, move_damaged_state: bool) -> int:
    config = load_config(path)
    # Not at the top: it imports asyncio, aiohttp and more that no other command needs.
    from ckptd.daemon.app import run  # noqa: PLC0415

    return run(config, load=lambda: load_config(path), move_damaged_state=move_damaged_state)


def _check_machine(config: Config, user: str | None) -> None:
    """Check what a start looks at on this machine.

    Raises:
        ConfigurationError: A start would end, or a root could not be used.
    """
    # Not at the top: as for _run(). Before _become(): that user may not read where Python is.
    from ckptd.daemon.settings.start_checks import start_errors  # noqa: PLC0415

    errors: tuple[CkptdError, ...] = ()
    if user is not None:
        _become(user)
        errors = _program_errors(user)
    try:
        errors += start_errors(config)
    except ImportError:  # of a part of Python that was not needed before
        if not errors:
            raise
    if errors:
        raise ConfigurationError.of(
            [ConfigurationError(each.subject, each.problem, each.hint) for each in errors]
        )


def _program_errors(user: str) -> tuple[CkptdError, ...]:
    """Return why a user, whom this process is, could not start the daemon: it may not read it."""
    for file in map(Path, (os.path.realpath(sys.executable), os.__file__, __file__)):
        closed = [
            *(each for each in reversed(file.parents) if not os.access(each, os.X_OK)),
            *(each for each in (file,) if not os.access(each, os.R_OK)),
        ]
        if closed:
            obstacle = f"user {user} may not read it: {closed[0]} is closed to others"
            hint = "Use a Python that everybody may run, as /usr/bin/python3."
            return (ConfigurationError(f"program {file}", obstacle, hint),)
    return ()


def _become(user: str) -> None:
    """Be another user from now on.

    Raises:
        UsageError: There is none of that name, or this process may not.
    """
    try:
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except KeyError as error:
        raise UsageError(f"user {user}", "is not known on this machine") from error
    except PermissionError as error:
        raise UsageError(
            "--user", "needs root", f"Run 'sudo -u {user} ckptd check-config'."
        ) from error


def _show(path: str, config: Config, stated: Mapping[str, str], *, output: str) -> None:
    sections = {
        name: _plain_section(getattr(config, name))
        for name in config.__struct_fields__
        if name != "environment" and getattr(config, name) is not None
    }
    rows = dict(
        (f"{section}.{key}", str(value)) if section == "roots" else _row(section, key, value)
        for section, table in sections.items()
        if isinstance(table, dict)
        for key, value in table.items()
    )
    if config.recover:
        rows["recover"] = "; ".join(map(_recover_words, config.recover))
    if config.policy:
        rows["policy"] = "; ".join(map(_policy_words, config.policy))
    if config.watch:
        rows["watch"] = "; ".join(f"{each.directory}: {each.checkpoint}" for each in config.watch)
    places = {key: _places_of(key, stated) for key in rows}
    if output == "json":
        print(json.dumps({"file": path, "config": sections, "stated": places}, indent=2))
        return
    width = max(map(len, rows))
    cell_width = max(len(cell) for cell in rows.values() if len(cell) <= _CELL_WIDTH_MAX)
    print(f"{path}: valid")
    for key, cell in rows.items():
        print(f"  {key:{width}}  {cell:{cell_width}}  {', '.join(places[key]) or 'default'}")


def _places_of(key: str, stated: Mapping[str, str]) -> list[str]:
    """Return where a setting stands; nowhere if it is the default."""
    if key == "limits.rates":
        others = tuple(f"limits.{name}" for name in ("schedule", "yield_to", "yield_rate"))
        rates = [each for each in stated if each.startswith("limits.") and each not in others]
        return list(dict.fromkeys(stated[each] for each in rates))
    return [stated[key]] if key in stated else []


def _plain_section(section: object) -> object:
    if isinstance(section, msgspec.Struct | Mapping):
        return _plain_table(section)
    assert isinstance(section, tuple)
    return [_plain_entry(each) for each in section]


def _plain_entry(each: object) -> object:
    """Return one of a list of tables by the keys that it has in the file."""
    if isinstance(each, ConfiguredPolicy):
        return _plain_policy(each)
    return _plain_recover(each) if isinstance(each, RecoverTable) else msgspec.to_builtins(each)


def _plain_policy(each: ConfiguredPolicy) -> dict[str, object]:
    """Return a policy by the keys that it has in the file."""
    rules = [
        {
            "paths": rule.paths,
            "phase": rule.phase,
            "criticality": None if rule.criticality is None else rule.criticality.label,
            "after": rule.after,
            "optional": rule.is_optional,
        }
        for rule in each.policy.rules
    ]
    phases = each.policy.phases
    return {"checkpoint": each.checkpoint, "place": each.place, "phases": phases, "rule": rules}


def _plain_recover(each: RecoverTable) -> dict[str, object]:
    """Return what is recovered by itself, by the keys that it has in the file."""
    plain = asdict(each)
    return plain | {"patience": plain.pop("patience_s")}


def _recover_words(each: RecoverTable) -> str:
    """Return what is recovered by itself, in short."""
    return ", ".join(
        (
            f"{each.checkpoint}: at {each.at}",
            *((f"shards {each.shards}",) if each.shards else ()),
            *((f"placed {each.place}",) if each.place else ()),
            *(("activated",) if each.activate else ()),
            *((f"patience {each.patience_s:g}s",) if each.patience_s is not None else ()),
        )
    )


def _policy_words(each: ConfiguredPolicy) -> str:
    """Return what a policy says, in short."""
    count = len(each.policy.rules)
    phases = ", ".join(each.policy.named_phases)
    return ", ".join(
        (
            f"{each.checkpoint}: {count} rule{'s' * (count != 1)}",
            *((f"phases {phases}",) if phases else ()),
            *((f"placed {each.place}",) if each.place else ()),
        )
    )


def _plain_table(section: msgspec.Struct | Mapping[str, object]) -> dict[str, object]:
    if isinstance(section, msgspec.Struct):
        return {name: _plain(getattr(section, name)) for name in section.__struct_fields__}
    return {name: _plain(value) for name, value in section.items()}


def _plain(value: object) -> object:
    match value:
        case Address() | FreeRoom():
            return str(value)
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case RootRecovery() | JobSection() | CheckpointRetention() | CheckpointCopies():
            return _plain_table(value)
        case LimitSpan():
            return {"span": str(value.span), "rates": _plain(value.rates)}
        case tuple():
            return tuple(_plain(each) for each in value)
        case _:
            return value


def _row(section: str, key: str, value: object) -> tuple[str, str]:
    """Return key and value as they stand in the file."""
    name = key
    for suffix in ("_bytes_per_s", "_bytes", "_s", "_cores"):
        name = name.removesuffix(suffix)
    match value:
        case None:
            cell = "off"
        case bool():
            cell = str(value).lower()
        case float() if key.endswith("_cores"):
            cell = f"{value:g} cores"
        case float() if key.endswith("_s"):
            cell = f"{value:g}s"
        case int() if key.endswith("_bytes_per_s"):
            cell = format_rate(value)
        case int() if key.endswith("_bytes"):
            cell = format_size(value)
        case int() if key.endswith("_s"):
            cell = _duration(value)
        case tuple():
            cell = ", ".join(map(_words, value)) or "none"
        case dict():
            cell = _words(value) or "none"
        case _:
            cell = str(value)
    return f"{section}.{name}", cell


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _words(value: object) -> str:  # noqa: PLR0911 (one for each kind)
    match value:
        case {"span": span, "rates": rates}:
            return f"{span}: {_words(rates)}"
        case {"shards": shards}:
            return f"shards {shards}"
        case {"mode": mode, "owner": owner, "group": group}:
            return f"mode {mode}, owner {owner or 'off'}, group {group or 'off'}"
        case {"newest": newest, "every_s": every_s, "copies": copies, "remove": remove}:
            every = "off" if every_s is None else _duration(every_s)
            return f"newest {newest or 'off'}, every {every}, copies {copies}, remove {remove}"
        case {"critical": critical, "normal": normal, "deferred": deferred, "keep": keep, **more}:
            counts = f"critical {critical}, normal {normal}, deferred {deferred}, keep {keep}"
            return f"{counts}, compress" if more.get("compress") else counts
        case dict() if any(isinstance(each, tuple) for each in value.values()):
            return "; ".join(f"{key}: {', '.join(each)}" for key, each in value.items())
        case dict() if any(isinstance(each, dict) for each in value.values()):
            return "; ".join(f"{key}: {_words(each)}" for key, each in value.items())
        case dict():
            return ", ".join(
                f"{key} {UNLIMITED if rate is None else format_rate(rate)}"
                for key, rate in value.items()
            )
        case _:
            return str(value)


if __name__ == "__main__":
    sys.exit(main())
