"""``ckptctl prioritize`` and ``ckptctl need``: units that go before all others."""

from __future__ import annotations

import posixpath
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ckptd.cli.ctl.recovery_verbs import add_recovery, resolve
from ckptd.cli.ctl.verb import (
    Verb,
    client_of,
    duration_s,
    print_answer,
    print_rows,
    say,
    utf8,
)
from ckptd.cli.render.live import Show, across_restarts, showing, silence
from ckptd.cli.render.tensor_text import tensor_lines
from ckptd.cli.render.text import Picture, json_line, printable
from ckptd.control.client import ControlClient
from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.range_reader import RangeReader
from ckptd.errors import CkptdError, ExitCode, UsageError
from ckptd.limits import MIB
from ckptd.model.quantities import format_size
from ckptd.model.unit_names import TENSOR_SIGN, UnitRange, split_range

_PRIORITIZE: Final = """\
Let the units whose paths match go before everything of their recovery that is
not on its way yet. In GLOB, * and ? match / too, as in 'ckptctl publish'.
Lasts until they are here, or until the daemon restarts.

examples:
  ckptctl prioritize 01J9 'model-00001-*'
  ckptctl prioritize 01J9 'optimizer/*' -o json | jq .bytes
"""

_NEED: Final = """\
Let one unit of a running recovery go before everything else of it, wait until
all of it is verified and durable, and print where it can be read now: where it
belongs, or else in staging. PATH is where the file will stand, or the path of a
unit that only one running recovery has, or NAME:UNIT (NAME@VERSION:UNIT) of a
checkpoint that is being recovered or is here.

With :OFFSET-LENGTH behind it (in bytes; :OFFSET- is up to the end) only that
range is needed, and goes before the rest of its unit. --cat writes exactly
these bytes, each as soon as it is verified, and while the rest is still away;
without it they are waited for. Another colon at the end says that the numbers
before it belong to the name of the unit.

With #TENSOR behind the unit only the bytes of that tensor are needed, and the
header that says where they are; a range behind it is one of them. NAME#TENSOR
finds the unit: by model.safetensors.index.json, or in model.safetensors or
.metadata (PyTorch DCP). --tensors lists what can be named, and needs no more
than the headers. A unit that has a # in its name comes before a tensor of a
shorter one. Bytes of safetensors are values, little-endian; an item of DCP is
what torch.save wrote, as its transforms made it: nothing is unpickled here.

A path in staging is for reading only, and only for the daemon's user and root.
It moves with the version the moment that is complete, and is gone if the
recovery is given up: open it at once, and look at PATH itself if it is gone. A
file that is open or mapped stays so. Others take the bytes: --cat writes them,
compared once more, from a descriptor that the daemon passes (Python:
ControlClient.open_unit).

examples:
  ckptctl need /data/llama/rank-3/1200/model-00001-of-00004.safetensors
  file=$(ckptctl need tokenizer.json --timeout 1m) && cat "$file"
  ckptctl need tokenizer.json --cat | jq .model
  ckptctl need llama/rank-3:model.safetensors:0-8 --cat | od -t u8
  ckptctl need 'llama/rank-3:model.safetensors#lm_head.weight' --cat | od -t f4
  ckptctl need llama/rank-3@1200:dcp/.metadata --tensors
  ckptctl need optimizer/shard-0.pt --no-wait
"""


def _add_prioritize(parser: ArgumentParser) -> None:
    add_recovery(parser)
    parser.add_argument("pattern", metavar="GLOB", help="compared with the paths of units")


def _prioritize(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    chosen = resolve(client.recoveries(), arguments.recovery)
    request = PrioritizeRequest(pattern=utf8(arguments.pattern))
    prioritized = client.prioritize(chosen.recovery, request)
    print_answer(arguments, prioritized, prioritized_lines(prioritized))
    return ExitCode.DONE


def _add_need(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="where the file will stand, or a unit's path")
    parser.add_argument("--no-wait", action="store_true", help="return once it goes first")
    parser.add_argument("--timeout", metavar="DURATION", help="wait for so long at most: 10m")
    parser.add_argument("--cat", action="store_true", help="write its bytes, and no path")
    parser.add_argument("--tensors", action="store_true", help="list its tensors, by their header")


def _object_to_need(arguments: Namespace) -> str:
    is_range = split_range(arguments.path)[1] is not None
    if arguments.tensors and (is_range or arguments.cat or arguments.no_wait):
        what = "a range" if is_range else f"--{'cat' if arguments.cat else 'no-wait'}"
        return f"--tensors contradicts {what}: it reads the headers alone"
    if arguments.no_wait and is_range:
        return "--no-wait contradicts a range: it is needed as long as somebody waits for it"
    if arguments.cat and arguments.output == "json":
        return "--cat contradicts -o json"
    if arguments.no_wait and (arguments.timeout or arguments.cat):
        return f"--{'timeout' if arguments.timeout else 'cat'} contradicts --no-wait"
    return ""


def _need(arguments: Namespace) -> ExitCode:
    path, timeout_s = utf8(arguments.path), duration_s(arguments.timeout)
    named, wanted = split_range(path)
    goes_on = "it still goes first, until the daemon restarts"
    if wanted is not None or TENSOR_SIGN in named or arguments.tensors:
        goes_on = "it goes first no more"
    client = client_of(arguments).until(_deadline_s(timeout_s))
    try:
        if arguments.tensors:
            return _list_tensors(arguments, client, named)
        if arguments.cat:
            _write_out(_pieces(client, named, wanted))
            return ExitCode.DONE
        if TENSOR_SIGN in named:
            named, wanted = _unit_of_tensor(client, arguments, named, wanted)
        event = follow_need(client, arguments, named, wanted)
    except TimeoutError:
        say(f"{path} was not here within {arguments.timeout}; {goes_on}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        say(f"interrupted; {path} is not here; {goes_on}")
        return ExitCode.INTERRUPTED
    if arguments.output != "json":
        print("\n".join(need_lines(event)))
    return ExitCode.DONE


def _pieces(client: ControlClient, path: str, wanted: UnitRange | None) -> Iterator[bytes]:
    """Yield the bytes of a unit, of a range of it, or of a tensor in it.

    Raises:
        TimeoutError: They are not here by then.
    """
    with showing() as show:
        open_range = _opening(client, show)
        found = _tensor_range(open_range, path, wanted)
        if found is None and wanted is not None:
            found = open_range(path), wanted
        if found is not None:
            reader, wanted = found
            yield from reader.pieces(*wanted)
            return
        unit = client.open_unit(posixpath.normpath(path), lambda event: show(_picture(event)))
    with open(unit.fd, "rb") as file:
        while piece := file.read(MIB):
            yield piece


def _opening(client: ControlClient, show: Show) -> Callable[[str], RangeReader]:
    """Return what opens a unit by its name, for reads that show what they wait for."""
    return lambda path: client.open_range(
        posixpath.normpath(path), lambda event: show(_picture(event))
    )


def _tensor_range(
    open_range: Callable[[str], RangeReader], path: str, wanted: UnitRange | None
) -> tuple[RangeReader, UnitRange] | None:
    """Return which bytes of which unit a tensor has.

    Args:
        open_range: Returns what reads a unit.
        path: ``UNIT#TENSOR``.
        wanted: Which of its bytes; ``None``: all.

    Returns:
        ``None`` if a unit is meant and no tensor in it.
    """
    if TENSOR_SIGN not in path:
        return None
    from ckptd.control.named_tensors import find_tensor  # noqa: PLC0415 -- rarely needed

    found = find_tensor(open_range, path)
    if found is None:
        return None
    tensors, name = found
    reader, start, length = tensors.located(name, *(wanted or ()))
    return reader, UnitRange(start, length)


def _unit_of_tensor(
    client: ControlClient, arguments: Namespace, path: str, wanted: UnitRange | None
) -> tuple[str, UnitRange | None]:
    """Return what is needed where a tensor may be named.

    Args:
        client: The daemon.
        arguments: What was typed.
        path: What names a unit, or a tensor in it.
        wanted: Which bytes.

    Raises:
        UsageError: A tensor cannot be needed so.
    """
    with silence() if arguments.output == "json" else showing() as show:
        found = _tensor_range(_opening(client, show), path, wanted)
    if found is None:
        return path, wanted
    if arguments.no_wait:
        problem = "is needed as long as somebody waits for it"
        raise UsageError(f"tensor {path[:200]!r}", problem, "Leave out --no-wait.")
    reader, wanted = found
    return reader.stands_at, wanted


def _list_tensors(arguments: Namespace, client: ControlClient, path: str) -> ExitCode:
    """List the tensors of a unit, or of a checkpoint."""
    from ckptd.control.named_tensors import open_tensors  # noqa: PLC0415 -- rarely needed

    with silence() if arguments.output == "json" else showing() as show:
        listed = open_tensors(_opening(client, show), path).listed()
    return print_rows(arguments, listed, tensor_lines, f"{path} has no tensors")


def _deadline_s(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _write_out(pieces: Iterator[bytes]) -> None:
    """Write bytes to standard output.

    Raises:
        CkptdError: They cannot be written.
    """
    for piece in pieces:
        try:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise  # nobody reads
        except OSError as error:
            raise CkptdError("unit", f"cannot be written out: {error.strerror}") from error


def prioritized_lines(prioritized: Prioritized) -> list[str]:
    """Say which units go first now."""
    amount = f"{prioritized.units} units, {format_size(prioritized.bytes)}"
    here = f"{prioritized.units_here} units, {format_size(prioritized.bytes_here)}"
    return [f"first now in {printable(prioritized.recovery)}: {amount}; already here: {here}"]


def need_lines(event: NeedEvent) -> list[str]:
    """Say where a unit can be read, or that it will come first."""
    if isinstance(event, NeedProgress):
        return [_line(event)]
    assert isinstance(event, NeedResult)
    return [printable(event.path) if event.path else f"{printable(event.unit)}: the range is here"]


def follow_need(
    client: ControlClient,
    arguments: Namespace,
    path: str,
    wanted: UnitRange | None = None,
) -> NeedEvent:
    """Let a unit go first, and show progress until it can be read, or until it goes first.

    Args:
        client: The daemon; how long to wait at most is its deadline.
        arguments: What was typed: whether to wait, and how to print.
        path: Which unit.
        wanted: Which range of it; ``None``: all of it.

    Raises:
        TimeoutError: It could not by then.
        DaemonUnreachable: The daemon was away for 30 s.
    """
    as_json = arguments.output == "json"
    offset, length = wanted or (None, None)
    request = NeedRequest(path=posixpath.normpath(path), offset=offset, length=length)
    with silence() if as_json else showing() as show:
        for event in across_restarts(lambda: client.need(request)):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case NeedResult():
                    return event
                case NeedProgress():
                    if arguments.no_wait and event.is_prioritized:
                        return event
                    show(_picture(event))
                case NeedBytes():
                    raise AssertionError("no bytes were asked for")
    raise AssertionError("a need ends with a result or raises")


def _picture(event: NeedProgress) -> Picture:
    lines: Sequence[str] = [_line(event)]
    return Picture("raised" if event.is_prioritized else "waiting", lines[0], tuple(lines))


def _line(event: NeedProgress) -> str:
    unit = printable(event.unit)
    if not event.is_prioritized:
        line = f"{unit}: its recovery does not know its units yet"
    else:
        line = f"{unit}: {format_size(event.bytes_here)} of {format_size(event.bytes_total)} here"
    return f"{line}; waiting: {printable(event.waiting_for)}" if event.waiting_for else line


VERBS: Final = (
    Verb(
        "prioritize",
        "let some units of a recovery go first",
        _prioritize,
        _PRIORITIZE,
        _add_prioritize,
    ),
    Verb(
        "need", "let one unit go first, and wait for it", _need, _NEED, _add_need, _object_to_need
    ),
)
