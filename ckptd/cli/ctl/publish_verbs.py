"""``ckptctl publish``: a directory, or a file, becomes a version or a shard of one."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import Final

import msgspec

from ckptd.cli.ctl.shard_files import ShardFiles, paths_below
from ckptd.cli.ctl.verb import Verb, absolute, client_of, duration_s, say, terminal_width, utf8
from ckptd.cli.render.live import follow_publishing
from ckptd.cli.render.manifest_text import said_lines
from ckptd.cli.render.rivals_text import rival_warning_lines
from ckptd.cli.render.text import published_lines
from ckptd.config import launched_shard
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.errors import ExitCode
from ckptd.model.formats.element_types import parse_dtype
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name, parse_version
from ckptd.model.patterns import version_from
from ckptd.model.shards import parse_shard, shard_name

_DIGITS_MAX: Final = 20
"""More than any version has: what is longer is refused as too large."""

_PUBLISH: Final = """\
Hash a directory below one of the daemon's roots, or a single file, and serve it
where it lies.
Nothing is copied. Publishing the same content again changes nothing. If other
content goes by that name and version, at a peer for example, it says so; with
--replace this node's own leaves the offer, and others' stays.
Every unit is required unless it is called optional, however urgent it is. A
directory that changes meanwhile, or in which a required file is open for
writing, is refused: publish when the job is done.
What matters first is said by these options, by a policy in ckptd.policy.toml
beside the directory, or in the configuration, in this order; --dry-run shows
which rule says what.
Logs (*.log, slurm-*.out) and TensorBoard's events are left out unless a pattern
names them, and it says so. A directory of PyTorch DCP, Orbax, DeepSpeed or with
an index of shards that lacks what says that it is complete is refused.
Files that you may open and the daemon not (mode 0600, as safetensors makes its)
are passed to it open. They are on offer until ckptd restarts, and it says how
they can be for good.
What each rank of a job saves is a shard: with --shard NAME is the job, and the
version is whole when all its shards are held.

examples:
  ckptctl publish /data/llama/1200 --checkpoint llama/rank-3 --version 1200
  ckptctl publish . --checkpoint llama/rank-3 --version 1200 \\
      --critical 'model*.safetensors' --critical config.json \\
      --deferred 'optimizer/*' --optional '*.txt'
  ckptctl publish . --checkpoint llama --version 1200 --recognise --dry-run
  ckptctl publish . --checkpoint llama --version 1200 --phase core 'model*' \\
      --phase rest 'optimizer*' --after '*.index.json' '*.safetensors'
  ckptctl publish . --checkpoint a --version 3 --dtype auto --dtype 'optim*=f32'
  ckptctl publish . --checkpoint a --version 3 --exclude 'wandb/*' --dry-run
  ckptctl publish . --checkpoint a --version 3 --require .metadata --settled 5s
  srun ckptctl publish /data/llama/1200 --checkpoint llama --version 1200 \\
      --shard auto
  ckptctl publish /data/global_step1200 --checkpoint ds --version 1200 \\
      --shards-by 'zero_pp_rank_{shard}_*.pt' --shard-count 16
  ckptctl publish /data/out/checkpoint-1200 --checkpoint out \\
      --version-from 'checkpoint-([0-9]+)'
  ckptctl publish lit/epoch=3-step=1000.ckpt --checkpoint lit \\
      --version-from 'step=([0-9]+)'
"""


def _add_publish(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the version's directory, or a file")
    parser.add_argument("--checkpoint", metavar="NAME", required=True, help="e.g. llama/rank-3")
    version = parser.add_mutually_exclusive_group(required=True)
    version.add_argument("--version", metavar="N", type=_number, help="usually the training step")
    version.add_argument(
        "--version-from",
        metavar="REGEX",
        help="take it from the name of DIR, or of one above: its first group",
    )
    shard = parser.add_mutually_exclusive_group()
    shard.add_argument(
        "--shard",
        metavar="RANK/COUNT",
        help="it is one of the shards of a job, from 0: 3/8; auto: as the launcher says",
    )
    shard.add_argument(
        "--shards-by",
        metavar="GLOB",
        help="several ranks saved into DIR: their files, {shard} for the rank; others are all's",
    )
    parser.add_argument(
        "--shard-count",
        metavar="N",
        type=int,
        help="with --shards-by: how many shards the job has; default: as many as are in DIR",
    )
    for option, purpose in (
        ("critical", "units that are recovered first"),
        ("deferred", "units that can wait"),
        ("optional", "units that a version is complete without"),
        ("exclude", "files that are left out"),
        ("require", "files without which the directory is not complete yet"),
    ):
        parser.add_argument(
            f"--{option}",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"{purpose}; may be given several times",
        )
    parser.add_argument(
        "--phase",
        nargs=2,
        metavar=("NAME", "GLOB"),
        action="append",
        default=[],
        help="units that are useful together, in this phase; may be given several times",
    )
    parser.add_argument(
        "--after",
        nargs=2,
        metavar=("GLOB", "BEFORE"),
        action="append",
        default=[],
        help="units become visible after others; may be given several times",
    )
    parser.add_argument(
        "--recognise",
        action="store_true",
        help="what ckptd makes of the format counts where no rule says otherwise",
    )
    parser.add_argument(
        "--dtype",
        metavar="[GLOB=]TYPE",
        action="append",
        default=[],
        help="files' elements: bf16, f32, …; auto: by their headers. Versions travel shorter so",
    )
    parser.add_argument(
        "--links",
        action="store_true",
        help="links that stay inside, and empty directories, are kept as they are",
    )
    parser.add_argument("--keep-logs", action="store_true", help="logs are not left out")
    parser.add_argument(
        "--settled", metavar="DURATION", help="nothing in it may have changed for so long: 5s"
    )
    parser.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="its format may call it incomplete: a node has only its own part",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be published")
    parser.add_argument(
        "--no-pass-files",
        action="store_true",
        help="refuse what the daemon may not open; else you pass it open",
    )
    parser.add_argument(
        "--replace", action="store_true", help="the version may exist with other content"
    )


def _number(text: str) -> int:
    """Read a version, for the parser."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise ArgumentTypeError(
            f"{text!r} is no number; --version-from 'REGEX' takes one from a name, "
            "e.g. 'checkpoint-([0-9]+)'"
        )
    value = int(digits.lstrip("0")[:_DIGITS_MAX] or "0")
    return value if digits == text else -value


def _version(arguments: Namespace) -> Version:
    """Return which version is meant.

    A link is followed only if its own name says nothing: ``last.ckpt``, ``latest``.
    """
    if arguments.version_from is None:
        return parse_version(arguments.version)
    typed = absolute(arguments.directory)
    return version_from(
        arguments.version_from, (typed, absolute(arguments.directory, is_resolved=True))
    )


def _checkpoint(arguments: Namespace) -> CheckpointName:
    """Return what it is published as: the checkpoint that was named, or a shard of that job."""
    name = parse_checkpoint_name(arguments.checkpoint)
    if arguments.shard is None:
        return name
    is_launched = arguments.shard == "auto"
    shard = launched_shard() if is_launched else parse_shard(utf8(arguments.shard))
    return shard_name(name, shard)


def _published_path(typed: str) -> str:
    """Return what is to be published, without a symbolic link on the way to it.

    The daemon refuses those; a person's path may have some. A link to a file keeps its own name.
    """
    if not os.path.isfile(typed):
        return absolute(typed, is_resolved=True)
    directory, name = os.path.split(absolute(typed))
    return utf8(f"{absolute(directory, is_resolved=True).rstrip('/')}/{name}")


def _object_to_publish(arguments: Namespace) -> str:
    is_lonely = arguments.shard_count is not None and arguments.shards_by is None
    return "--shard-count needs --shards-by" if is_lonely else ""


def _publish(arguments: Namespace) -> ExitCode:
    request = publish_request(arguments)
    if arguments.shards_by is None:
        return _publish_one(arguments, request)
    for each in _of_shards(arguments, request):
        code = _publish_one(arguments, each)
        if code is not ExitCode.DONE:
            return code
    return ExitCode.DONE


def _of_shards(arguments: Namespace, request: PublishRequest) -> Iterator[PublishRequest]:
    """Yield what is to be published of each rank that saved into a directory."""
    job = parse_checkpoint_name(arguments.checkpoint)
    files = ShardFiles(utf8(arguments.shards_by))
    numbers = files.numbers(paths_below(request.directory))
    count = arguments.shard_count or max(numbers) + 1
    for number in sorted(numbers):
        yield msgspec.structs.replace(
            request,
            checkpoint=shard_name(job, parse_shard(f"{number}/{count}")),
            exclude=(*request.exclude, *files.of_others(numbers, number)),
            allow_incomplete=True,  # what others saved is missing, as it should be
        )


def _dtype(typed: str) -> tuple[str, str]:
    """Return the pattern of files, and the type of their elements."""
    pattern, _, dtype = utf8(typed).rpartition("=")
    return pattern or "*", parse_dtype(dtype)


def publish_request(arguments: Namespace) -> PublishRequest:
    """Return what was typed as the daemon takes it."""
    return PublishRequest(
        directory=_published_path(arguments.directory),
        checkpoint=_checkpoint(arguments),
        version=_version(arguments),
        critical=tuple(utf8(pattern) for pattern in arguments.critical),
        deferred=tuple(utf8(pattern) for pattern in arguments.deferred),
        optional=tuple(utf8(pattern) for pattern in arguments.optional),
        replace=arguments.replace,
        exclude=tuple(utf8(pattern) for pattern in arguments.exclude),
        keeps_logs=arguments.keep_logs,
        require=tuple(utf8(pattern) for pattern in arguments.require),
        settled_s=duration_s(arguments.settled) or 0.0,
        allow_incomplete=arguments.allow_incomplete,
        is_dry_run=arguments.dry_run,
        keeps_links=arguments.links,
        passes_files=not arguments.no_pass_files,
        phases=tuple((utf8(name), utf8(glob)) for name, glob in arguments.phase),
        after=tuple((utf8(glob), utf8(before)) for glob, before in arguments.after),
        recognises=arguments.recognise,
        lists_units=arguments.dry_run and arguments.output == "json",
        dtypes=tuple(map(_dtype, arguments.dtype)),
    )


def _publish_one(arguments: Namespace, request: PublishRequest) -> ExitCode:
    as_json = arguments.output == "json"
    try:
        result = follow_publishing(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; nothing was published")
        return ExitCode.INTERRUPTED
    if not as_json:
        lines = [*published_lines(result), *rival_warning_lines(result)]
        if result.said is not None:
            lines += ["", *said_lines(result.said, terminal_width())]
        print("\n".join(lines))
    return ExitCode.DONE


VERBS: Final = (
    Verb(
        "publish",
        "serve a directory as a version",
        _publish,
        _PUBLISH,
        _add_publish,
        _object_to_publish,
    ),
)
