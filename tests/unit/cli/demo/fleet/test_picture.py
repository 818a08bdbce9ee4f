"""The picture of a fleet: well formed, with a bar for each thing that was held."""

import re
import xml.etree.ElementTree as ET

import pytest

from ckptd.cli.demo.fleet.picture import Moment, picture
from ckptd.cli.demo.fleet.samples import Fleet, Held, Origin, Sample

SVG = "{http://www.w3.org/2000/svg}"
FLEET = Fleet({"east": ("a",), "west & more": ("b",)})

OWN = (Held(0, 7, Origin.SAVED, "/a", 1.0),)
BOTH = (*OWN, Held(1, 7, Origin.COPIED))
SAMPLES = [
    Sample(0.0, {"a": OWN, "b": ()}),
    Sample(1.0, {"a": OWN, "b": (Held(1, 7, Origin.SAVED),)}),
    Sample(2.0, {"a": BOTH, "b": (Held(1, 7, Origin.SAVED), Held(0, 7, Origin.COPIED))}),
    Sample(3.0, {"a": BOTH}),
    Sample(4.0, {"a": BOTH, "b": (Held(1, 7, Origin.RECOVERED),)}),
]


def drawn(samples: list[Sample], moments: list[Moment]) -> ET.Element:
    return ET.fromstring(picture(FLEET, samples, moments))


def bars(root: ET.Element, look: str) -> list[tuple[float, str]]:
    """Width and title of what has a look, but for the legend."""
    return [
        (float(bar.attrib["width"]), bar.findtext(f"{SVG}title") or "")
        for bar in root.iter(f"{SVG}rect")
        if bar.get("class") == look and bar.find(f"{SVG}title") is not None
    ]


def words(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_each_state_of_a_version_is_a_bar_as_long_as_it_lasted() -> None:
    root = drawn(SAMPLES, [])
    [broken] = bars(root, "broken")
    [safe] = bars(root, "safe")
    whole = bars(root, "whole")
    assert broken[1] == "version 7: a shard is not there yet, or lost, 0.0 to 1.0 s"
    assert [title for _, title in whole] == [
        "version 7: every shard somewhere, 1.0 to 2.0 s",
        "version 7: every shard somewhere, 3.0 to 4.0 s",
    ]
    assert safe[1] == "version 7: every shard in two zones, 2.0 to 3.0 s"
    assert broken[0] == pytest.approx(safe[0], abs=0.2)


def test_each_thing_held_is_a_bar_in_the_lane_of_its_node_and_a_dead_node_is_hatched() -> None:
    root = drawn(SAMPLES, [])
    assert [title for _, title in bars(root, "saved")] == [
        "shard 0 of version 7, saved, 0.0 to 4.0 s",
        "shard 1 of version 7, saved, 1.0 to 3.0 s",
    ]
    assert len(bars(root, "copied")) == 2
    assert [title for _, title in bars(root, "dead")] == ["b is gone, 3.0 to 4.0 s"]
    assert {"0@7", "a", "b", "east", "west & more", "version 7"} <= set(words(root))


def test_bars_that_overlap_in_time_lie_on_tracks_of_their_own() -> None:
    looks = {"saved", "copied", "recovered"}
    places = [
        (float(bar.attrib["y"]), float(bar.attrib["x"]), float(bar.attrib["width"]))
        for bar in drawn(SAMPLES, []).iter(f"{SVG}rect")
        if bar.get("class") in looks and bar.find(f"{SVG}title") is not None
    ]
    assert len(places) == 5
    for y, x, width in places:
        later = [each for each in places if each[0] == y and each[1] > x]
        assert all(x + width <= each[1] + 1 for each in later)


def test_every_colour_has_words_and_one_for_a_dark_ground() -> None:
    text = picture(FLEET, SAMPLES, [])
    root = ET.fromstring(text)
    legend = {
        bar.get("class") or ""
        for bar in root.iter(f"{SVG}rect")
        if bar.find(f"{SVG}title") is None and bar.get("class") != "ground"
    }
    assert legend == {"safe", "whole", "broken", "saved", "copied", "recovered", "dead"}
    light, _, dark = text.partition("prefers-color-scheme: dark")
    for look in legend - {"dead"} | {"ground", "ink", "faint", "lane"}:
        assert re.search(rf"\.{look} {{ fill: #", light), look
        assert re.search(rf"\.{look} {{ fill: #", dark), look


def test_moments_are_marked_in_their_order_and_stay_in_the_picture() -> None:
    moments = [Moment(4.0, "b is <back>"), Moment(3.9, "b is gone"), Moment(3.91, "and more")]
    root = drawn(SAMPLES, moments)
    names = {each.text for each in moments}
    said = [text for text in root.iter(f"{SVG}text") if text.text in names]
    assert [text.text for text in said] == ["b is gone", "and more", "b is <back>"]
    assert len({text.attrib["y"] for text in said}) == 3  # they would lie over each other
    assert all(float(text.attrib["x"]) < 1120 for text in said)


@pytest.mark.parametrize("samples", [[Sample(0.0, {})], [Sample(5.0, {"a": OWN})] * 2])
def test_a_picture_of_next_to_nothing_is_one_as_well(samples: list[Sample]) -> None:
    assert drawn(samples, []).tag == f"{SVG}svg"
