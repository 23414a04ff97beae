"""Plots are text that a page can hold: the same bytes, no shared names, nothing from outside."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("matplotlib")

from volano.page.plots import Figure, Kept, curves, funnel, intervals, stacked

SERIES = {"version 1": ([1, 2, 3], [3.0, 2.0, 1.5]), "version 2": ([1, 2], [2.0, 1.0])}
ROWS = [Figure("base", 20, 15, 25), Figure("version 1", 40, 40, 40)]


def drawn(title="a title"):
    return [
        curves(SERIES, title=title, x="step", y="loss"),
        funnel([Kept("collected", 10, 0), Kept("near copy", 8, 2)], title=title),
        intervals(ROWS, title=title, unit="%", beside=[25.0]),
        stacked({"all": [1, 0, 2, 3, 4]}, ["1", "2", "3", "4", "5"], title=title),
    ]


def test_the_same_figures_give_the_same_bytes():
    assert drawn() == drawn()


def test_a_plot_is_one_element_with_a_title_and_text_that_stays_text():
    for svg, words in zip(drawn(), ("loss", "near copy", "version 1", "40 %"), strict=True):
        root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
        assert root.tag == "svg"
        assert root.attrib["aria-label"] == "a title"
        assert words in [each.text for each in root.iter("text")]


def test_colours_and_letters_are_the_page_s():
    for svg in drawn():
        without = re.sub(r"var\(--[a-z]+, #[0-9a-f]{6}\)", "", svg)
        assert re.findall(r"#[0-9a-f]{6}\b", without) == []
        assert "font-family" not in svg
        assert "DejaVu" not in svg


def test_two_plots_share_no_names_and_point_only_at_their_own():
    first, second = drawn("one")[2], drawn("two")[2]
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first))
    assert {a or b for a, b in used} <= names[0]
    assert "http" not in first


def test_labels_of_others_are_escaped():
    svg = stacked({"<script>": [1, 2, 3, 4, 5]}, list("abcde"), title='"><script>')
    assert "<script" not in svg


def test_settings_that_others_made_do_not_show():
    import matplotlib as mpl

    before = drawn()
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        assert drawn() == before


def test_a_long_curve_keeps_its_shape_in_few_points():
    wave = [(step // 500 % 2) + 1.0 for step in range(10_000)]
    svg = curves({"loss": (range(10_000), wave)}, title="long", x="step", y="loss")
    path = max(re.findall(r'd="([^"]+)"', svg), key=len)
    assert 20 < path.count("L") < 200
