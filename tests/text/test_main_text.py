import time

import pytest

from volano.text.main_text import main_text

PARAGRAPHS = [
    "The flywheel of the old mill had stood still for forty years before anyone thought of it.",
    "It was the new owner, a clockmaker by trade, who cleaned the bearings and, one morning in "
    "May, gave it a push. It turned for eleven minutes, and the whole house hummed along with it.",
    "Since then the mill grinds again on two days of the week, and children from the town come to "
    "see how much work can be stored in a turning piece of iron.",
]
PAGE = f"""<!doctype html><html lang="en-GB"><head><title>The mill turns again - Valley News</title>
<meta property="og:title" content="The mill turns &amp; turns"/>
<meta content="2024-05-03T10:00:00Z" property='article:published_time'></head><body>
<header class="site-header"><div class="logo">Valley News</div></header>
<nav class="main-menu"><ul>{"".join(f"<li><a href=/{n}>Section {n}</a></li>" for n in range(12))}
</ul></nav><main><article class="post"><h1>The mill turns again</h1>
<div class="share-buttons"><a href=#>Share</a> <a href=#>Tweet</a></div>
<div class="entry-content">{"".join(f"<p>{text}</p>" for text in PARAGRAPHS)}
<ul><li>Open on <b>Tuesdays</b>, from nine in the morning to noon, for everybody.</li>
<li>Open on Fridays, from two to five, for schools that have asked for it before.</li></ul></div>
<section class="comments"><h3>2 comments</h3><div class="comment">Nice, we went there last week.
</div></section></article></main><aside class="sidebar related"><h4>More</h4>
{"".join(f"<p><a href=/s{n}>Story number {n} of the day</a></p>" for n in range(9))}</aside>
<footer>© 2024 Valley News. <a href=/privacy>Privacy</a></footer></body></html>"""


def test_the_article_is_kept_and_the_frame_around_it_is_not():
    found = main_text(PAGE.encode())
    lines = found.text.split("\n")
    assert set(PARAGRAPHS) <= set(lines)
    assert "- Open on Tuesdays, from nine in the morning to noon, for everybody." in lines
    for frame in ("Section 3", "Tweet", "went there last week", "Story number", "Privacy"):
        assert frame not in found.text
    assert (found.title, found.language) == ("The mill turns & turns", "en-GB")
    assert found.date == "2024-05-03T10:00:00Z"


def test_a_lower_threshold_keeps_at_least_as_much():
    whole, some = main_text(PAGE.encode(), 0.0).text, main_text(PAGE.encode(), 0.9).text
    assert "Section 3" in whole
    assert len(whole) > len(main_text(PAGE.encode()).text) >= len(some) > 100


def test_cells_of_a_row_share_a_line():
    page = "<table>" + "<tr><td>wheel</td><td>of iron</td></tr>" * 2 + "</table>"
    assert main_text(page.encode(), 0.0).text == "wheel | of iron\nwheel | of iron"


def test_a_page_without_text_and_bytes_that_are_no_page():
    assert main_text(b"").text == ""
    assert main_text(b"<html><body><script>1</script></body></html>").text == ""
    assert isinstance(main_text(bytes(range(256)) * 3).text, str)


@pytest.mark.parametrize(
    "piece",
    [b'<meta content="" ', b"<meta name=date ", b"<meta ", b"<html ", b"<time ", b"<!--", b"<a b='",
     b"<title ", b'"datePublished":', b"<td>", b"&nGt;"],
)  # fmt: skip
def test_no_page_takes_longer_than_its_length(piece):
    began = time.monotonic()
    main_text(piece * (200_000 // len(piece)))
    assert time.monotonic() - began < 5


def test_bytes_that_begin_no_character_are_survived():
    assert isinstance(main_text(b"<p>\x80</p>").text, str)
