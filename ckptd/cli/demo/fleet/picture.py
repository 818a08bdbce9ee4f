"""The picture of a fleet: what could be recovered, and who held what, over time. Pure.

An SVG of its own, without scripts and fonts, readable on light and dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from ckptd.cli.demo.fleet.samples import JOB, Fleet, Held, Origin, Sample, Span, spans

_WIDTH: Final = 1120
_LEFT: Final = 132
_RIGHT: Final = 24
_TITLE_Y: Final = 30
_LEGEND_Y: Final = 54
_MARKS_Y: Final = 92
_MARK_ROWS: Final = 3
_TOP: Final = 150
_VERSION_ROW: Final = 14
_TRACK: Final = 9
_NODE_GAP: Final = 6
_ZONE_GAP: Final = 10
_PANEL_GAP: Final = 44
_BAR_GAP: Final = 1.5
_TICKS_MAX: Final = 12
_CHARACTER_WIDTH: Final = 6.2

_STYLE: Final = """\
  :root { color-scheme: light dark; }
  .ground { fill: #ffffff; } .ink { fill: #1f2328; } .faint { fill: #59636e; }
  .line { stroke: #d1d9e0; stroke-width: 1; } .event { stroke: #59636e; stroke-dasharray: 3 3; }
  .lane { fill: #f6f8fa; }
  .saved { fill: #2f6fd0; } .copied { fill: #e08a1e; } .recovered { fill: #8a4fd0; }
  .safe { fill: #2b8a3e; } .whole { fill: #d9a400; } .broken { fill: #d1495b; }
  .dead { fill: url(#hatch); } .hatch { stroke: #8b949e; stroke-width: 2; }
  text { font-family: system-ui, sans-serif; font-size: 11px; }
  .title { font-size: 15px; font-weight: 600; } .number { font-size: 8px; fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } .ink { fill: #e6edf3; } .faint { fill: #9198a1; }
    .line { stroke: #30363d; } .event { stroke: #9198a1; } .lane { fill: #161b22; }
    .saved { fill: #5a95ee; } .copied { fill: #f0a94a; } .recovered { fill: #b085f0; }
    .safe { fill: #4bb562; } .whole { fill: #e8c03a; } .broken { fill: #f0707f; }
    .number { fill: #0d1117; }
  }
"""

_OPENING: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"\
 height="{height}" role="img">
<title>{title}</title>
<style>
{style}</style>
<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"\
 patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>
<rect class="ground" width="{width}" height="{height}"/>"""

_OF_NODES: Final = (
    (Origin.SAVED.value, "saved by the job"),
    (Origin.COPIED.value, "copy that the node made"),
    (Origin.RECOVERED.value, "brought back for the job"),
    ("dead", "node is gone"),
)
_OF_VERSIONS: Final = (
    ("safe", "every shard in two zones"),
    ("whole", "every shard somewhere"),
    ("broken", "a shard is not there yet, or lost"),
)


class Moment(NamedTuple):
    """Something that happened, as the picture names it.

    Attributes:
        at_s: When, in seconds since the beginning.
        text: A few words.
    """

    at_s: float
    text: str


class _Bar(NamedTuple):
    span: Span
    held: Held


def picture(fleet: Fleet, samples: Sequence[Sample], moments: Sequence[Moment]) -> str:
    """Return the picture as the text of an SVG.

    Above a row for each version says how well it could be recovered; below a lane for each node
    says which shards of which versions it held, a bar for each.

    Args:
        fleet: Which nodes there are.
        samples: At least one, in order of time.
        moments: What is marked in it.
    """
    title = f"{JOB}: versions and nodes over time"
    scale = _Scale(samples)
    versions = list(_version_rows(fleet, samples, scale))
    lanes_top = _TOP + _height_of_versions(samples) + _PANEL_GAP
    lanes, bottom = _lanes(fleet, samples, scale, lanes_top)
    height = bottom + 34
    return "\n".join(
        (
            _OPENING.format(width=_WIDTH, height=math.ceil(height), title=title, style=_STYLE),
            _text(16, _TITLE_Y, title, "ink title"),
            *_legend(),
            *_ticks(scale, bottom),
            *versions,
            *lanes,
            *_marks(moments, scale, bottom),
            "</svg>\n",
        )
    )


class _Scale:
    """Where a moment is."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.begin_s = samples[0].at_s
        self.end_s = max(samples[-1].at_s, self.begin_s + 1.0)

    def x(self, at_s: float) -> float:
        """Return how far to the right a moment is; one that lies outside is at the edge."""
        share = (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def rect(self, span: Span, y: float, height: float, look: str, title: str) -> str:
        """Return a bar with what is said of it where somebody points at it."""
        left = self.x(span.begin_s)
        width = max(self.x(span.end_s) - left, 1.0)
        return (
            f'<rect class="{look}" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}"'
            f' height="{height:.1f}" rx="1"><title>{escape(title)}</title></rect>'
        )


def _versions(samples: Sequence[Sample]) -> list[int]:
    return sorted({version for sample in samples for version in sample.versions()})


def _height_of_versions(samples: Sequence[Sample]) -> int:
    return max(len(_versions(samples)), 1) * _VERSION_ROW


def _version_rows(fleet: Fleet, samples: Sequence[Sample], scale: _Scale) -> Iterator[str]:
    yield _text(16, _TOP - 6, "WHAT COULD BE RECOVERED", "faint")
    for row, version in enumerate(_versions(samples)):
        y = _TOP + row * _VERSION_ROW
        yield _text(_LEFT - 8, y + 10, f"version {version}", "ink", anchor="end")
        states = [_state(fleet, sample, version) for sample in samples]
        for span, state in spans(samples, states):
            title = f"version {version}: {dict(_OF_VERSIONS)[str(state)]}{_when(span)}"
            yield scale.rect(span, y + 1, _VERSION_ROW - 3, str(state), title)


def _state(fleet: Fleet, sample: Sample, version: int) -> str | None:
    if version not in sample.versions():
        return None
    if not fleet.lacking_copies(sample, version):
        return "safe"
    return "whole" if fleet.is_whole(sample, version) else "broken"


def _lanes(
    fleet: Fleet, samples: Sequence[Sample], scale: _Scale, top: float
) -> tuple[list[str], float]:
    """Return a lane for each node, with its bars, and where they end."""
    made = [_text(16, top - 10, "WHO HELD WHAT: A BAR IS A SHARD OF A VERSION", "faint")]
    y = top
    for zone, nodes in fleet.zones.items():
        zone_top = y
        for node in nodes:
            bars = _bars(samples, node)
            tracks = _tracks(bars)
            height = max([2, *(track + 1 for track in tracks)]) * _TRACK + 4
            whole = Span(scale.begin_s, scale.end_s)
            made.append(scale.rect(whole, y, height, "lane", node))
            made.append(_text(_LEFT - 8, y + height / 2 + 4, node, "ink", anchor="end"))
            for bar, track in zip(bars, tracks, strict=True):
                made += _bar(bar, y + 2 + track * _TRACK, scale)
            dead = [None if node in sample.nodes else "dead" for sample in samples]
            made += [
                scale.rect(span, y, height, "dead", f"{node} is gone{_when(span)}")
                for span, _ in spans(samples, dead)
            ]
            y += height + _NODE_GAP
        made.append(_text(16, (zone_top + y) / 2, zone, "ink"))
        y += _ZONE_GAP
    return made, y


def _bars(samples: Sequence[Sample], node: str) -> list[_Bar]:
    """Return what a node held and when, in order of time."""
    kinds = sorted(
        {
            held._replace(directory="", added_at_s=0.0)
            for sample in samples
            for held in sample.nodes.get(node, ())
        },
        key=lambda held: (held.version, held.shard, held.origin.value),
    )
    bars = []
    for kind in kinds:
        states = [
            kind
            if any(
                (held.shard, held.version, held.origin) == (kind.shard, kind.version, kind.origin)
                for held in sample.nodes.get(node, ())
            )
            else None
            for sample in samples
        ]
        bars += [_Bar(span, kind) for span, _ in spans(samples, states)]
    return sorted(bars, key=lambda bar: bar.span)


def _tracks(bars: Sequence[_Bar]) -> list[int]:
    """Return for each bar on which track of the lane it is, so that none lies over another."""
    ends: list[float] = []
    chosen = []
    for bar in bars:
        track = next(
            (track for track, end_s in enumerate(ends) if end_s <= bar.span.begin_s), len(ends)
        )
        if track == len(ends):
            ends.append(0.0)
        ends[track] = bar.span.end_s
        chosen.append(track)
    return chosen


def _bar(bar: _Bar, y: float, scale: _Scale) -> Iterator[str]:
    held, span = bar.held, bar.span
    title = f"shard {held.shard} of version {held.version}, {held.origin.value}{_when(span)}"
    yield scale.rect(span, y, _TRACK - _BAR_GAP, held.origin.value, title)
    left, right = scale.x(span.begin_s), scale.x(span.end_s)
    label = f"{held.shard}@{held.version}"
    if right - left >= len(label) * _CHARACTER_WIDTH:
        yield _text(left + 2, y + _TRACK - _BAR_GAP - 1, label, "number")


def _legend() -> Iterator[str]:
    for index, rows in enumerate((_OF_VERSIONS, _OF_NODES)):
        x, y = 16.0, _LEGEND_Y + index * 18
        for look, words in rows:
            yield f'<rect class="{look}" x="{x:.1f}" y="{y - 9}" width="14" height="10" rx="1"/>'
            yield _text(x + 20, y, words, "ink")
            x += 20 + len(words) * _CHARACTER_WIDTH + 22
        if rows is _OF_NODES:
            yield _text(x, y, "3@7: shard 3 of version 7", "faint")


def _ticks(scale: _Scale, bottom: float) -> Iterator[str]:
    length_s = scale.end_s - scale.begin_s
    step_s = next(
        (step for step in (1, 2, 5, 10, 20, 30, 60, 120) if length_s / step <= _TICKS_MAX),
        math.ceil(length_s / _TICKS_MAX),
    )
    for number in range(int(length_s / step_s) + 1):
        x = scale.x(scale.begin_s + number * step_s)
        yield (
            f'<line class="line" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
            + _text(x, bottom + 14, f"{number * step_s} s", "faint", anchor="middle")
        )


def _marks(moments: Sequence[Moment], scale: _Scale, bottom: float) -> Iterator[str]:
    ends = [-math.inf] * _MARK_ROWS
    for moment in sorted(moments):
        x = scale.x(moment.at_s)
        yield (
            f'<line class="event" x1="{x:.1f}" y1="{_MARKS_Y - 9}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
        )
        width = len(moment.text) * _CHARACTER_WIDTH
        left = min(x + 3, _WIDTH - _RIGHT - width)
        row = min(range(_MARK_ROWS), key=lambda row: max(ends[row], left))
        ends[row] = max(left, ends[row]) + width + 6
        yield _text(ends[row] - width - 6, _MARKS_Y + row * 12, moment.text, "ink")


def _when(span: Span) -> str:
    return f", {span.begin_s:.1f} to {span.end_s:.1f} s"


def _text(x: float, y: float, words: str, look: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{look}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}'
        "</text>"
    )
