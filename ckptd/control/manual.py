"""The manual of the control API, made from its table: ``python -m ckptd.control.manual``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Final

from msgspec.inspect import (
    BoolType,
    DictType,
    EnumType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from ckptd.control.messages.error_documents import ErrorDocument, StreamError
from ckptd.control.routes import ROUTES, Route

_HEAD: Final = """\
# The control API

Made by `make manual` from `ckptd/control/routes.py` and `ckptd/control/messages`. Do not edit.

What `ckptctl` does, any program can do: HTTP/1.1 and JSON on the daemon's unix socket.

    curl --unix-socket /run/ckptd/ckptd.sock http://ckptd/v1/status

A `GET` takes its request from the query, a `POST` from the body. A request with a field that is
not listed here is refused. Fields may be added to answers, never renamed: ignore what you do not
know. Integers are below 2⁵³, so that every reader of JSON knows them exactly; only a version has
the number that its publisher chose. `…` is a stream: one message a line, distinguished by `type`;
where there is a `result` it comes last, and a last `error` says why there will be none. Every other
answer that is no success is an [ErrorDocument](#errordocument).

With `with_descriptor` in the request of `need` a descriptor of the file comes as well: `SCM_RIGHTS`
of unix(7), beside the bytes of the result, which then has `has_descriptor` set. It is exactly one,
open for reading only. A reader must take it with `recvmsg`, for `read` and `recv` lose it, with
room for it (`MSG_CTRUNC` says that there was none), and closes what it does not expect. Each unit
has a request and a connection of its own, which is closed behind the result; 8 of one user may be
under way at once. In Python `ControlClient.open_unit` does all this.

With `offset` and `with_bytes` in that request the bytes of a range come in the answer, while the
rest of the unit is still away: behind the line of each [NeedBytes](#needbytes) follow as many bytes
as it says, and behind them the next line. They were compared with the digests of their blocks in
memory; what is missing is waited for, and never read as zeros. 8 of one user may be under way at
once, 16 of all. In Python `ControlClient.open_range` returns a reader.

With `passes_files` in the request of `publish` the daemon asks for descriptors the other way:
[PublishWanted](#publishwanted). The client sends nothing on that connection before it is asked, and
then one message, within ten seconds. In Python: `ControlClient.publish_passing`.

The roles are `stranger`, `viewer`, `operator` and `admin`; each may do what those before it may.

## Verbs

| `ckptctl` | Request | Role | Takes | Answers | What for |
|---|---|---|---|---|---|
"""

_PLAIN: Final = {
    BoolType: "boolean",
    FloatType: "number",
    IntType: "integer",
    NoneType: "null",
    StrType: "string",
}


def manual() -> str:
    """Return the manual as Markdown."""
    rows = "".join(f"{_row(route)}\n" for route in ROUTES)
    return f"{_HEAD}{rows}\n## Messages\n{''.join(map(_section, _messages()))}"


def _row(route: Route[..., object]) -> str:
    shape = route.shape
    takes = "" if shape.request is None else _words(type_info(shape.request))
    answers = _words(type_info(shape.answer)) + (" …" if shape.is_stream else "")
    cells = (f"`{route.verb}`", f"`{route.method} {route.path}`", str(route.role), takes, answers)
    return f"| {' | '.join(cells)} | {route.purpose} |"


def _messages() -> list[StructType]:
    """Return every message that a row takes or answers, and what is in them, by name."""
    found: dict[str, StructType] = {}
    waiting = [type_info(ErrorDocument), type_info(StreamError)]
    for route in ROUTES:
        waiting.append(type_info(route.shape.answer))
        if route.shape.request is not None:
            waiting.append(type_info(route.shape.request))
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, StructType):
            if kind.cls.__name__ in found:
                continue
            found[kind.cls.__name__] = kind
        waiting += _parts(kind)
    return [found[name] for name in sorted(found)]


def _parts(kind: Type) -> Iterator[Type]:
    """Yield what a type is made of."""
    match kind:
        case StructType():
            yield from (field.type for field in kind.fields)
        case UnionType():
            yield from kind.types
        case ListType() | VarTupleType():
            yield kind.item_type
        case TupleType():
            yield from kind.item_types
        case DictType():
            yield kind.value_type
        case _:
            return


def _section(kind: StructType) -> str:
    """Describe a message: what its docstring says, and its fields."""
    docstring = inspect.cleandoc(kind.cls.__doc__ or "")
    head, _, attributes = docstring.partition("\nAttributes:\n")
    meanings = dict(_attributes(attributes))
    lines = [f"\n### {kind.cls.__name__}\n", f"{_prose(head)}\n"]
    lines += ["| Field | Type | |", "|---|---|---|"]
    if kind.tag is not None:
        lines.append(f"| `{kind.tag_field}` | `{kind.tag}` | |")
    for field in kind.fields:
        may_miss = "" if field.required or not kind.forbid_unknown_fields else ", may be left out"
        meaning = meanings.get(field.name, "")
        lines.append(f"| `{field.encode_name}` | {_words(field.type)}{may_miss} | {meaning} |")
    return "\n".join(lines) + "\n"


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and meaning of each attribute in a docstring."""
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", text, re.MULTILINE):
        yield name, _prose(meaning)


def _prose(text: str) -> str:
    """Return text of a docstring as Markdown, in one line."""
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", text).replace("``", "`")
    for python, json in (("`None`", "`null`"), ("`False`", "`false`"), ("`True`", "`true`")):
        text = text.replace(python, json)
    return " ".join(text.split()).replace("|", "\\|")


def _words(kind: Type) -> str:
    """Say what a type is in JSON."""
    match kind:
        case StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case EnumType() | LiteralType():
            values = (
                [each.value for each in kind.cls] if isinstance(kind, EnumType) else kind.values
            )
            return " or ".join(f"`{value}`" for value in values)
        case UnionType():
            return " or ".join(map(_words, kind.types))
        case ListType() | VarTupleType() | TupleType():
            return f"array of {_words(next(_parts(kind)))}"
        case DictType():
            return f"object of {_words(kind.value_type)} by name"
        case _:
            return _PLAIN[type(kind)]


if __name__ == "__main__":
    sys.stdout.write(manual())
