import html
import html.entities
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.kernels.html import ELEMENT, scan_page
from volano.text.kernels.html_blocks import FEATURES, block_features
from volano.text.kernels.html_names import BIT
from volano.text.main_text import block_texts


def page_of(markup: str):
    return scan_page(np.frombuffer(markup.encode("utf-8", "replace"), np.uint8))


def texts(markup: str) -> list[str]:
    return block_texts(page_of(markup))


@pytest.mark.parametrize(
    ("markup", "blocks"),
    [
        ("<p>one<p>two</p>three", ["one", "two", "three"]),  # paragraphs end one another
        ("<ul><li>a<li>b<ul><li>c</ul>d</ul>", ["a", "b", "c", "d"]),
        ("<table><tr><td>1<td>2<tr><th>3</table>4", ["1", "2", "3", "4"]),
        ("a <b>b</b>c <span>d</span>\n e", ["a bc d e"]),
        ("one<br>two<br><br>three", ["one\ntwo", "three"]),
        ("<pre>  a\n   b</pre> c   d", ["a\n   b", "c d"]),
        ("1 < 2 && 3 > 2 <3", ["1 < 2 && 3 > 2 <3"]),
        ("<script>if (a<b) '</p>'</script>x<style>p{}</style>y", ["xy"]),
        ("<head><title>t</title><body>x", ["x"]),
        ("<!-- <p>no --><p>yes<!-- never closed <p>kept", ["yes never closed", "kept"]),
        ("a<!doctype html>b<?php echo?>c", ["abc"]),
        ("<svg><text>no</text></svg><select><option>no</select>yes", ["yes"]),
        ("x</div></p>y<div/>z", ["x", "y", "z"]),  # end tags of nothing
        ("<DIV CLASS=a>UP</DIV>", ["UP"]),
        ("<p title='a>b' class=\"x\">in</p>", ["in"]),
        ("&eacute;&#233;&#xE9;&#150;&lt;p&gt; &amp;amp; &no; &amp", ["ééé–<p> &amp; &no; &"]),
        ("a&nbsp;&#160;\u00a0 b&copy2", ["a b&copy2"]),
        ("&#0;&#x110000;&#xD800;", ["��"]),
        ("<p", []),
        ("<p class='never closed", []),
        ("", []),
    ],
)  # fmt: skip
def test_blocks_are_what_a_reader_sees(markup, blocks):
    assert texts(markup) == blocks


def test_elements_know_what_their_names_and_ancestors_are_for():
    page = page_of("<nav><div class='siteFooter-links' id=x><a href=y>go</a></div></nav>")
    parts = page.parts[page.blocks[0, ELEMENT]]
    assert parts & BIT["footer"]
    row = dict(zip(FEATURES, block_features(page)[0], strict=True))
    assert (row["levels_to_footer"], row["levels_to_in_navigation"]) == (0, 1)
    assert row["link_fraction"] == 1
    assert row["levels_to_comment"] == 20


def test_an_end_tag_in_a_cell_does_not_end_what_holds_the_table():
    page = page_of("<article><table><tr><td>a</article></td></tr></table><p>b</article>")
    rows = block_features(page)
    column = FEATURES.index("levels_to_in_article")
    assert [row[column] < 20 for row in rows] == [True, True]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_text_without_markup_comes_back_with_plain_spaces(text):
    kept = "".join(
        character
        for character in text.encode("utf-8", "replace").decode()
        if character in "\t\n\f\r " or (ord(character) > 31 and ord(character) != 127)
    )
    # What Python calls white space, but HTML does not, stays.
    for space in "\t\n\f\r\u00a0":
        kept = kept.replace(space, " ")
    expected = " ".join(part for part in kept.split(" ") if part)
    assert " ".join(texts(html.escape(text))) == expected


PIECES = (
    "<p> </p> <div> </div> <li> <a> </a> <td> <table> </table> <br> <pre> <!-- --> <script> "
    "</script> & &amp; &#x <b </ < > ' \" = class= é 中 word"
)
MARKUP = st.lists(
    st.sampled_from(PIECES.split()) | st.text(max_size=4),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(MARKUP)
def test_no_markup_breaks_the_scan(pieces):
    page = page_of("".join(pieces))
    features = block_features(page)
    assert features.shape == (len(page.blocks), len(FEATURES))
    assert np.isfinite(features).all()
    for text in block_texts(page):
        assert text
        assert text == text.strip(" \n")
        assert "\ufffd" not in text or "\ufffd" in "".join(pieces) or "&#" in "".join(pieces)


TREES = st.recursive(
    st.text("ab é中<&", min_size=1, max_size=6).map(html.escape),
    lambda inner: st.lists(
        st.tuples(st.sampled_from(["div", "p", "b", "span", "section", "em"]), inner),
        min_size=1,
        max_size=4,
    ).map(lambda parts: "".join(f"<{name}>{text}</{name}>" for name, text in parts)),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_the_words_are_those_that_a_browsers_parser_finds(markup):
    from resiliparse.extract.html2text import extract_plain_text

    ours = "".join("".join(texts(markup)).split())
    assert ours == "".join(extract_plain_text(markup, preserve_formatting=False).split())


def test_a_page_of_nothing_but_depth_takes_no_longer_than_its_length():
    began = time.monotonic()
    page = page_of("<div><b>" * 200_000 + "deep" + "</b></div>" * 200_000)
    assert [*map(str, block_texts(page))] == ["deep"]
    block_features(page)
    assert time.monotonic() - began < 20


def test_every_reference_has_room_for_what_it_stands_for():
    for name, text in html.entities.html5.items():
        markup = f"<p>{f'&{name}' * 500}"
        page = page_of(markup)
        assert len(page.text) >= 500 * len(text.encode())
        if name.endswith(";") and text.strip():
            assert block_texts(page) == [text * 500]
