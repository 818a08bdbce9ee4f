from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ckptd.observe.event_names import BURST
from ckptd.observe.logs import (
    EXCEPTION_CHARS_MAX,
    VALUE_CHARS_MAX,
    LogFormat,
    LogLevel,
    configure,
    get_logger,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FullDisk(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Give the root logger back as it was: pytest has handlers there."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("ckptd").setLevel(logging.NOTSET)
    structlog.reset_defaults()


def written(
    form: LogFormat = "logfmt",
    level: LogLevel = "info",
    stream: io.StringIO | None = None,
    environ: dict[str, str] | None = None,
) -> io.StringIO:
    stream = stream or io.StringIO()
    configure(level, form, environ=environ or {}, stream=stream)
    return stream


def json_fact(value: object) -> object:
    stream = written("json")
    get_logger().info("test.done", value=value)
    return json.loads(stream.getvalue())["value"]


def test_a_line_has_time_level_event_and_facts() -> None:
    stream = written("auto")
    get_logger(node="node-a").info("recovery.started", recovery="r1", blocks=3, is_resumed=True)
    line = re.fullmatch(r"timestamp=(\S+) (.*)\n", stream.getvalue())
    assert line is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line[1])
    assert line[2] == (
        "level=info event=recovery.started node=node-a recovery=r1 blocks=3 is_resumed=true"
    )


def test_a_json_line_has_typed_facts() -> None:
    stream = written("json")
    get_logger().warning("source.quarantined", source="node-b", trust=-7, until=None)
    fields = json.loads(stream.getvalue())
    assert fields.pop("timestamp")
    assert fields == {
        "level": "warning",
        "event": "source.quarantined",
        "source": "node-b",
        "trust": -7,
        "until": None,
    }


def test_a_terminal_gets_colours_unless_they_are_unwanted() -> None:
    stream = written("auto", stream=Terminal())
    get_logger().info("recovery.started")
    assert "\x1b[" in stream.getvalue()
    stream = written("auto", stream=Terminal(), environ={"NO_COLOR": "1"})
    get_logger().info("recovery.started")
    assert "\x1b[" not in stream.getvalue()
    assert "event=" not in stream.getvalue()


def test_the_journal_gets_priorities_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        configure("debug", "auto", environ=journal, stream=stream)
        log = get_logger()
        log.debug("a.b")
        log.info("a.b")
        log.warning("a.b")
        log.error("a.b")
        stream.seek(0)
        assert stream.read().splitlines() == [
            "<7>level=debug event=a.b",
            "<6>level=info event=a.b",
            "<4>level=warning event=a.b",
            "<3>level=error event=a.b",
        ]


def test_the_journal_of_another_stream_is_not_ours(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        configure("info", "auto", environ={"JOURNAL_STREAM": "8:12345"}, stream=stream)
        get_logger().info("a.b")
        stream.seek(0)
        assert stream.read().startswith("timestamp=")


def test_lines_below_the_level_are_not_written() -> None:
    stream = written(level="warning")
    get_logger().info("a.b")
    assert stream.getvalue() == ""
    get_logger().warning("a.b")
    assert stream.getvalue() != ""


def test_a_second_call_changes_loggers_that_exist() -> None:
    log = get_logger()
    first, second = written(), written("json", level="debug")
    log.debug("a.b")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["event"] == "a.b"


@pytest.mark.parametrize("form", ["logfmt", "json", "console"])
@pytest.mark.parametrize(
    "evil", ["a\nlevel=error event=b", "\x1b[2J", "\x9b2J", "\u2028", "\u202e"]
)
def test_a_value_cannot_write_a_second_line_or_steer_a_terminal(form: LogFormat, evil: str) -> None:
    stream = written(form)
    get_logger().info("a.b", value=evil)
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue()[:-1].isprintable()


def test_a_name_that_is_not_utf_8_can_be_logged() -> None:
    assert json_fact(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


@pytest.mark.parametrize("length", [VALUE_CHARS_MAX - 1, VALUE_CHARS_MAX, VALUE_CHARS_MAX + 1])
def test_a_long_value_is_cut(length: int) -> None:
    value = "x" * length
    expected = value if length <= VALUE_CHARS_MAX else "x" * (VALUE_CHARS_MAX - 1) + "…"
    assert json_fact(value) == expected


def test_what_is_no_plain_value_is_written_as_text() -> None:
    assert json_fact(OSError(2, "gone")) == "[Errno 2] gone"
    assert json_fact((1, 2)) == "(1, 2)"


def test_a_traceback_keeps_its_end() -> None:
    stream = written("json")
    error = ValueError("x" * EXCEPTION_CHARS_MAX + "\x1bthe end")
    get_logger().error("runtime.failed", exc_info=error)
    text = json.loads(stream.getvalue())["exception"]
    assert text.endswith(r"\x1bthe end")
    assert len(text) == EXCEPTION_CHARS_MAX


def test_a_traceback_is_one_line_of_logfmt() -> None:
    stream = written()
    get_logger().error("runtime.failed", exc_info=ValueError("boom\nand more"))
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: boom" in stream.getvalue()
    assert "and more" in stream.getvalue()


def test_warnings_of_libraries_become_lines() -> None:
    stream = written("json", level="debug")
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").critical("out of order")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["library"], line["message"]) for line in lines] == [
        ("warning", "asyncio", "slow callback"),
        ("critical", "asyncio", "out of order"),
    ]


def test_modules_that_know_nothing_of_this_one_are_heard_at_the_level_that_is_set() -> None:
    stream = written("json", level="info")
    lane = logging.getLogger("ckptd.net.lane.lane")
    lane.debug("not wanted")
    lane.info("no connection to %s", "node-b\n")
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["level"], line["event"]) == ("info", "net.lane.lane")
    assert line["message"] == r"no connection to node-b\n"


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    written(stream=FullDisk())
    get_logger().error("a.b")


def test_events_are_kept_even_if_the_log_is_quieter() -> None:
    stream = io.StringIO()
    log = configure("error", "logfmt", environ={}, stream=stream)
    get_logger(node="node-a").info("peer.found", address="b:1\x1b")
    get_logger().debug("a.b")
    lost, [kept] = log.events.after(0, at_most=10)
    assert (lost, kept.id, kept.entry.level, kept.entry.event) == (0, 1, "info", "peer.found")
    assert kept.entry.facts == {"node": "node-a", "address": r"b:1\x1b"}
    assert stream.getvalue() == ""
    assert log.lines.last_id == 0


def test_the_level_of_loggers_that_exist_can_be_changed() -> None:
    stream = io.StringIO()
    log = configure("info", "logfmt", environ={}, stream=stream)
    logger, lane = get_logger(), logging.getLogger("ckptd.net.lane.lane")
    log.set_level("debug")
    logger.debug("a.b")
    lane.debug("no connection")
    assert stream.getvalue().count("\n") == 2
    log.set_level("warning")
    logger.info("a.b")
    lane.info("no connection")
    assert stream.getvalue().count("\n") == 2
    logger.warning("a.b")
    assert stream.getvalue().count("\n") == 3


def test_lines_are_kept_in_logfmt_whatever_the_form_of_the_log() -> None:
    log = configure("info", "json", environ={}, stream=io.StringIO())
    get_logger().info("peer.found", node="node-b")
    _, [kept] = log.lines.after(0, at_most=10)
    assert re.fullmatch(r"timestamp=\S+Z level=info event=peer.found node=node-b", kept.entry.text)


def test_a_flood_of_one_event_is_cut_and_said() -> None:
    stream = io.StringIO()
    log = configure("info", "logfmt", environ={}, stream=stream)
    for number in range(10 * BURST):
        get_logger().info("peer.lost", number=number)
    get_logger().info("recovery.ended")
    lines = stream.getvalue().splitlines()
    assert "recovery.ended" in lines[-1]
    assert BURST < len(lines) < 2 * BURST
    assert log.suppressed == 10 * BURST + 1 - len(lines)
    assert log.events.last_id == len(lines)
