"""What the documents say of files, commands and other documents is so."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ckptd import limits
from ckptd.cli.ctl.arguments import parse
from ckptd.cli.daemon import _parser as ckptd_parser
from ckptd.limits import KIB, MIB, SECOND

PROJECT = Path(__file__).parents[2]
DECISIONS = PROJECT / "docs" / "decisions"
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
TYPED = re.compile(r"^(?:[\w-]*\$ )?(?:\w+=\$\()?((?:ckptctl|ckptd|make) .+)$", re.MULTILINE)
PLACE = re.compile(r"(?:ckptd|tests|docs|deploy|configs)(?:/(?!1$)[\w.-]+)+/?")
ROOM = re.compile(r"(?:cli|control|core|daemon|model|net|observe|sim|store|traffic|wire)([/.]\w+)+")


def path_of(document: Path) -> str:
    return str(document.relative_to(PROJECT))


def spans(document: Path) -> Iterator[str]:
    for span in SPAN.findall(BLOCK.sub("", document.read_text())):
        yield " ".join(span.split())


def anchors(document: Path) -> set[str]:
    """The names under which GitHub links to headings."""
    headings = HEADING.findall(BLOCK.sub("", document.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=path_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", document.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=path_of)
def test_every_path_exists(document: Path) -> None:
    places = [PROJECT / span for span in spans(document) if PLACE.fullmatch(span)]
    for span in spans(document):
        if ROOM.fullmatch(span):
            room = PROJECT / "ckptd" / span.removesuffix(".py").replace(".", "/")
            places.append(room if room.is_dir() else room.with_suffix(".py"))
    assert [place for place in places if not place.exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=path_of)
def test_nothing_of_a_merge_was_left_in_it(document: Path) -> None:
    marks = re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", document.read_text(), re.MULTILINE)
    assert marks == []


def commands(document: Path) -> Iterator[str]:
    for block in BLOCK.findall(document.read_text()):
        for typed in TYPED.findall(block):
            yield re.sub(r" +[#&].*$|\)$", "", typed)
    for span in spans(document):
        if TYPED.fullmatch(span):
            yield span.removeprefix("file=$(").removesuffix(")")


SHOWN = sorted({command for document in DOCUMENTS for command in commands(document)})


@pytest.mark.parametrize("command", [each for each in SHOWN if not each.startswith("make ")])
def test_every_command_shown_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command)
    read = parse if program == "ckptctl" else ckptd_parser().parse_args
    options = [word for word in words if word.startswith("-")]
    with suppress(SystemExit):
        read(words)
    # A text may name a command without what must follow it, but no option that does not exist.
    complaint = capsys.readouterr().err
    assert not complaint or re.search("arguments are required|needs?", complaint), complaint
    with suppress(SystemExit):
        read([*(word for word in words if word not in options), "--help"])
    described = capsys.readouterr().out
    assert [option for option in options if option not in described] == []


@pytest.mark.parametrize("command", [each for each in SHOWN if each.startswith("make ")])
def test_every_target_shown_can_be_made(command: str) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for word in shlex.split(command)[1:]:
        name, is_variable, _ = word.partition("=")
        wanted = rf"^{name} \?=" if is_variable else rf"^{name}:.*##"
        assert re.search(wanted, makefile, re.MULTILINE), word


def test_commands_are_found_where_they_are_shown() -> None:
    assert {"make demo", "make test", "ckptctl wait llama --timeout 10m"} <= set(SHOWN)


def test_every_decision_is_listed_once_in_order() -> None:
    listed = re.findall(
        r"^\| \[(\d{3})\]\((\1-[\w-]+\.md)\) \| (.+) \|$",
        (DECISIONS / "README.md").read_text(),
        re.MULTILINE,
    )
    records = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [name for _, name, _ in listed] == records
    assert [number for number, *_ in listed] == [
        f"{number:03}" for number in range(1, len(records) + 1)
    ]
    for number, name, title in listed:
        assert (DECISIONS / name).read_text().startswith(f"# {number} {title}\n")


@pytest.mark.parametrize("record", sorted(DECISIONS.glob("[0-9]*.md")), ids=path_of)
def test_a_decision_has_its_four_parts(record: Path) -> None:
    parts = re.split(r"^## (.+)$", record.read_text(), flags=re.MULTILINE)
    assert parts[1::2] == ["Context", "Decision", "Measurements", "Rejected"]
    assert all(part.strip() for part in parts[2::2])


ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text()


def test_the_map_has_every_room_and_no_other() -> None:
    package = PROJECT / "ckptd"
    rooms = {
        str(path.parent.relative_to(package))
        for path in package.rglob("__init__.py")
        if path.parent != package
    }
    (table,) = re.findall(r"^\| room \|.*\n\|.*\n((?:\|.*\n)+)", ARCHITECTURE, re.MULTILINE)
    listed = re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE)
    assert len(listed) == len(table.splitlines())
    assert sorted(listed) == sorted(rooms)


def test_every_module_that_the_map_names_is_in_its_room() -> None:
    for room, text in re.findall(r"^\| `([\w/]+)` \| (.+) \|$", ARCHITECTURE, re.MULTILINE):
        for module in re.findall(r"`(\w+\.py)`", text):
            assert (PROJECT / "ckptd" / room / module).exists(), f"{room}/{module}"


def test_the_layers_are_those_that_are_checked() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["ckptd"]
    )
    shown = re.findall(r"^((?:\w+ \| )*\w+)(?:  +.+)?$", ARCHITECTURE, re.MULTILINE)
    assert [layer for layer in shown if layer in contract["layers"]] == contract["layers"]


def test_the_architecture_can_be_read_in_ten_minutes() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 250


@pytest.mark.parametrize(
    ("document", "row"),
    [
        ("security", f"| {limits.CONNECTIONS_MAX}, to {limits.CONNECTIONS_CEILING:,} by"),
        ("security", f"| from one address | {limits.CONNECTIONS_PER_ADDRESS_MAX}, by"),
        ("security", f"handshakes included | {limits.CONNECTIONS_UNPROVEN_MAX} |"),
        ("security", f"| {limits.HEAD_BYTES_MAX // KIB} KiB, {limits.HEAD_FIELDS_MAX} fields, "),
        ("security", f"| {limits.HEAD_TIMEOUT_NS // SECOND} s from its first byte"),
        ("security", f"| between requests | {limits.IDLE_TIMEOUT_NS // SECOND} s |"),
        (
            "security",
            (
                f"| {limits.BODY_RATE_MIN_BYTES_PER_S // KIB} KiB/s over "
                f"{limits.BODY_RATE_WINDOW_NS // SECOND} s in which"
            ),
        ),
        (
            "security",
            (
                f"| {limits.HOLDINGS_BYTES_MAX // MIB} MiB, {limits.HOLDINGS_MAX:,} versions, "
                f"{limits.HOLDING_RUNS_MAX:,} runs |"
            ),
        ),
        ("security", f"| {limits.HOLDINGS_VALUES_MAX:,} | `wire`"),
        ("security", f"| manifest | {limits.MANIFEST_BYTES_MAX // MIB} MiB, 10⁶ units, 2²¹ blocks"),
        ("security", f"| signatures | {limits.SIGNATURES_MAX} |"),
        (
            "security",
            (
                f"| {limits.CONTROL_MESSAGE_BYTES_MAX // MIB} MiB, "
                f"{limits.CONTROL_CLIENTS_MAX} clients |"
            ),
        ),
        ("protocol", f"A head has at most {limits.HEAD_BYTES_MAX // KIB} KiB and"),
        ("protocol", f"(at most {limits.HOLDINGS_WAIT_MAX_NS // SECOND})"),
        ("protocol", f"at most {limits.RANGE_BYTES_MAX // MIB} MiB in one request"),
        ("protocol", f"at most {limits.NODE_ID_BYTES_MAX} bytes |"),
        ("protocol", f"at most {limits.CHECKPOINT_NAME_BYTES_MAX} bytes |"),
        (
            "protocol",
            (
                f"A path has 1 … {limits.PATH_BYTES_MAX} bytes and at most {limits.PATH_DEPTH_MAX} "
                f"components of 1 … {limits.PATH_COMPONENT_BYTES_MAX} bytes"
            ),
        ),
        ("protocol", f"| at most {limits.MANIFEST_ANNOTATIONS_MAX}; free text |"),
        ("protocol", f"| 1 to {limits.MANIFEST_PHASES_MAX} names, in the order"),
        ("protocol", f"[a-z0-9][a-z0-9_-]{{0,{limits.PHASE_NAME_CHARACTERS_MAX - 1}}}`; no two"),
        ("protocol", f"`after` ascends strictly, has at most {limits.UNIT_PREREQUISITES_MAX} ind"),
        ("protocol", f"| 0 … {limits.UNIT_BYTES_MAX // limits.GIB // 1024} TiB |"),
        (
            "protocol",
            (
                f"a power of two, {limits.BLOCK_BYTES_MIN // KIB} KiB … "
                f"{limits.BLOCK_BYTES_MAX // MIB} MiB"
            ),
        ),
    ],
)
def test_limits_are_those_of_the_source(document: str, row: str) -> None:
    assert row in (PROJECT / "docs" / f"{document}.md").read_text()


def test_limits_that_are_written_as_powers_are_those_of_the_source() -> None:
    assert (limits.MANIFEST_UNITS_MAX, limits.MANIFEST_BLOCKS_MAX) == (10**6, 2**21)


def test_each_cell_of_the_table_of_phases_names_a_test() -> None:
    policy = (PROJECT / "docs" / "policy.md").read_text()
    table = re.search(
        r"^\| \| order \| asked as \| hedged \|\n(.+?)\n\n", policy, re.MULTILINE | re.DOTALL
    )
    assert table, "the table is in docs/policy.md"
    named = {span for span in SPAN.findall(table[1]) if span.count("_") > 2}
    tests = (PROJECT / "tests/unit/core/ranges/test_phases.py").read_text()
    assert len(named) > 20
    assert {name for name in named if f"def test_{name}(" not in tests} == set()
