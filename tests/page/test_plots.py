"""Plots are text that a page can hold: the same bytes, no shared names, nothing from outside."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("matplotlib")

from volano.page.plots import (
    Band,
    Difference,
    Figure,
    Kept,
    bands,
    curves,
    differences,
    funnel,
    intervals,
    stacked,
)

SERIES = {"version 1": ([1, 2, 3], [3.0, 2.0, 1.5]), "version 2": ([1, 2], [2.0, 1.0])}
ROWS = [Figure("base", 20, 15, 25), Figure("version 1", 40, 40, 40)]


def drawn(title="a title"):
    return [
        curves(SERIES, title=title, x="step", y="loss"),
        funnel([Kept("collected", 10, 0), Kept("near copy", 8, 2)], title=title),
        intervals(ROWS, title=title, unit="%", beside=[25.0]),
        bands({"A": Band([1, 2, 3], [[3, 2, 1], [4, 3, 2]])}, title=title, x="tokens", y="bits"),
        differences(
            [Difference("prose", 1, 0.5, 1.5, "worse")], title=title, unit="bits", bounds=(-1, 2)
        ),
        stacked({"all": [1, 0, 2, 3, 4]}, ["1", "2", "3", "4", "5"], title=title),
    ]


def test_the_same_figures_give_the_same_bytes():
    assert drawn() == drawn()


def test_a_plot_is_one_element_with_a_title_and_text_that_stays_text():
    for svg, words in zip(
        drawn(), ("loss", "near copy", "version 1", "tokens", "prose", "40 %"), strict=True
    ):
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


def heights(points):
    return [float(y) for _, y in re.findall(r"([-\d.]+) ([-\d.]+)", points)]


def test_a_band_reaches_from_the_least_to_the_greatest_curve_around_their_mean():
    low, high = [1.0] * 20, [3.0] * 20
    svg = bands({"A": Band(range(20), [low, high])}, title="one", x="tokens", y="bits")
    shape = re.search(r'<path id="(m[^"]*)" d="([^"]*)"[^>]*/>', svg)
    moved = float(re.search(rf'<use xlink:href="#{shape[1]}"[^>]* y="([\d.]+)"', svg)[1])
    filled = [moved + y for y in heights(shape[2])]
    line = re.search(r'd="([^"]*)"[^>]*stroke-width: 1.5', svg)[1]
    middle = (min(filled) + max(filled)) / 2
    assert heights(line) == [pytest.approx(middle, abs=1e-4)] * 20
    assert max(filled) - min(filled) > 50
    alone = bands({"A": Band(range(20), [low])}, title="one", x="tokens", y="bits")
    assert "opacity" in svg
    assert "opacity" not in alone


def test_sixteen_lines_are_told_apart():
    series = {str(n): ([1, 2], [n, n]) for n in range(16)}
    svg = curves(series, title="many", x="x", y="y")
    styles = re.findall(r'style="fill: none; (stroke[^"]*stroke-width: 1.5[^"]*)"', svg)
    assert len({re.sub("stroke-linecap: [a-z]+", "", each) for each in styles}) == 16


def test_differences_have_a_line_at_nothing_and_share_bounds():
    rows = [Difference("one", 0.1, 0.05, 0.15, "better"), Difference("two", 0.2, -0.1, 0.5, "none")]
    grey = [Difference("three", -0.2, -0.3, -0.1, "greyed")]
    plots = [
        differences(each, title=title, unit="bits", bounds=(-0.6, 0.6))
        for title, each in (("a", rows), ("b", grey))
    ]
    ticks = [re.findall(r">([−0-9.]+)</text>", svg) for svg in plots]
    assert ticks[0] == ticks[1] != []
    assert "var(--accent, #1f5c8b)" in plots[0]
    assert "var(--paper, #ffffff)" in plots[0]  # hollow: no difference is shown
    assert "stroke-dasharray" in plots[1]
    assert "var(--accent" not in plots[1]


def test_funnels_of_one_scale_have_bars_of_one_length():
    small = funnel([Kept("left", 10, 0)], title="small", whole=100)
    alone = funnel([Kept("left", 10, 0)], title="small")
    widths = [re.findall(r'd="M ([\d.]+) [\d.]+ \nL ([\d.]+)', svg) for svg in (small, alone)]
    assert widths[0] != widths[1]
