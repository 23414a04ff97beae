"""Dumps as MediaWiki exports them (export-0.11), and then damaged."""

import bz2
import random
from xml.sax.saxutils import escape

import pytest
import zstandard
from reading import collect

from volano.collect.readers import wikipedia
from volano.collect.readers.fields import Cursor
from volano.collect.readers.wikitext import strip_wikitext
from volano.core.errors import DataError

pytest.importorskip("mwparserfromhell")
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>dewiki</dbname>
    <base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""


def page(number: int, title: str, text: str, *, space=0, extra="", model="wikitext") -> str:
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{space}</ns>
    <id>{number}</id>{extra}
    <revision>
      <id>9{number}</id>
      <timestamp>2024-05-0{number % 9 + 1}T00:00:00Z</timestamp>
      <contributor><username>Müller</username><id>5</id></contributor>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text bytes="1" xml:space="preserve">{escape(text)}</text>
    </revision>
  </page>
"""


ARTICLE = """{{Infobox|a={{b}}}}
'''Mühle''' ({{IPA|x}}; ) ist ein [[Bauwerk]] mit [[Wind|Windkraft]].<ref>Buch</ref>
[[Datei:Muehle.jpg|mini|Eine [[Mühle]]]]

== Arten ==
* [[Wassermühle|Wasser]]
* Wind &amp; <b>mehr</b><!-- nie -->
{| class="wikitable"
| Zelle
|}
<syntaxhighlight lang="python">
def turn(x):

    return [[x]]
</syntaxhighlight>
Es gilt <math>a < b</math>. __NOTOC__

== Einzelnachweise ==
<references />
[[Kategorie:Mühlen]]
[[en:Mill]]
"""
TEXT = """Mühle ist ein Bauwerk mit Windkraft.
Arten
- Wasser
- Wind & mehr
```python
def turn(x):

    return [[x]]
```
Es gilt $a < b$."""


def dump(*pages: str) -> bytes:
    return (HEAD + "".join(pages) + "</mediawiki>\n").encode()


def test_articles_of_a_dump_are_documents_and_all_else_is_counted(tmp_path):
    content = dump(
        page(1, "Mühle & Rad/Bau?", ARTICLE),
        page(2, "Diskussion:Mühle", "Nein!", space=1),
        page(3, "Windmühle", "#WEITERLEITUNG [[Mühle]]", extra='<redirect title="Mühle" />'),
        page(4, "Nur Vorlage", "{{Leer}}"),
        page(5, "x.js", "{}", model="javascript"),
        page(6, "Rad", "Rund."),
    )
    half = len(content) // 2
    packed = bz2.compress(content[:half]) + bz2.compress(content[half:])  # as multistream dumps
    found = collect(tmp_path, {"dewiki-pages-articles1.xml-p1p6.bz2": packed})
    first, second = found.documents
    assert first["text"] == TEXT
    assert (first["id"], first["date"]) == ("dewiki:1", "2024-05-02T00:00:00Z")
    assert first["licence"] == "CC-BY-SA-4.0"
    assert first["url"] == "https://de.wikipedia.org/wiki/M%C3%BChle_%26_Rad/Bau%3F"
    assert first["metadata"] == (
        '{"media": ["Muehle.jpg"], "stated_language": "de", "title": "Mühle & Rad/Bau?"}'
    )
    assert second["text"] == "Rund."
    assert found.passed_over == {
        "pages outside the main namespace": 1,
        "redirects": 1,
        "pages without text": 1,
        "pages of model javascript": 1,
    }
    assert found.problems == []


def test_xml_that_is_no_dump_is_passed_over(tmp_path):
    with pytest.raises(DataError, match=r"a\.xml: no document \(passed over: 1 XML files that are"):
        collect(tmp_path, {"a.xml": "<x/>"})


def test_a_damaged_page_costs_itself_alone(tmp_path):
    cut = page(2, "Ohne Ende", "Text").replace("  </page>\n", "")
    bomb = page(3, "Bombe", "&lol;").replace("&amp;lol;", "&lol;")
    deep = page(4, "Tief", "x").replace("<ns>", "<a>" * 100_000 + "<ns>")
    binary = page(5, "Bytes", "ÿ").encode().replace("ÿ".encode(), b"\xff")
    content = (HEAD + page(1, "Eins", "Eins.") + cut + bomb + deep).encode() + binary
    content += page(6, "Zwei", "Zwei.").encode()
    found = collect(tmp_path, {"w.xml": content + b"<page><title>A"}, licence="GFDL-1.3")
    assert [(row["text"], row["licence"]) for row in found.documents] == [
        ("Eins.", "GFDL-1.3"),
        ("Zwei.", "GFDL-1.3"),
    ]
    reasons = [reason for _, reason in found.problems]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "a page without its end",
        "not XML (undefined entity",
        "not XML (nested deeper than 16)",
        "not XML (not well-formed (invalid token)",
        "the file ends inside a page",
    ]
    place = content.index(b"<page>", content.index(b"Eins."))
    assert found.problems[0][0] == f"w.xml:byte {place}"


def test_the_newest_of_several_revisions_counts(tmp_path):
    old = "<revision><id>1</id><timestamp>2001-01-01T00:00:00Z</timestamp><text>Alt</text>"
    both = page(1, "A", "Neu.").replace("  </page>", f"{old}</revision></page>")
    noise = page(2, "B", str(random.Random(1).randbytes(300_000)), space=2)  # a block of its own
    packed = zstandard.compress(dump(both, noise), 1)
    assert [row["text"] for row in collect(tmp_path, {"a.xml.zst": packed}).documents] == ["Neu."]


def test_a_page_on_which_the_parser_dies_costs_itself_alone(tmp_path, monkeypatch):
    (tmp_path / "a.xml").write_bytes(dump(page(1, "A", "[[" * 3000 + "x"), page(2, "B", "Gut.")))
    monkeypatch.setattr(wikipedia, "strip_wikitext", deadly)
    read = list(wikipedia.read_wikipedia(tmp_path / "a.xml", "a.xml", "text", None, Cursor()))
    assert read[0].where == "a.xml:1"
    assert read[0].reason == "wikitext cannot be parsed (the process that read it died (SIGKILL))"
    assert read[1].values["text"] == "Gut."


def deadly(wikitext, *names):
    import os
    import signal

    if wikitext.startswith("[["):
        os.kill(os.getpid(), signal.SIGKILL)
    return strip_wikitext(wikitext, *names)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("", ""),
        ("''a'' '''b'''", "a b"),
        ("== A ==\n=== B ===\n== C ==\nText", "C\nText"),
        ("*** deep\n## second", "- deep\n- second"),
        ("[http://a.test a site] [http://b.test] http://c.test", "a site http://c.test"),
        ("<nowiki>[[a]]</nowiki> &#x1F600; &#xD800;", "[[a]] 😀"),
        ("<nowiki><!-- a --></nowiki>b<!-- c --><ref name=x />d<ref>{{e}}</ref>", "<!-- a -->bd"),
        ("<pre>\n```\nx\n```\n</pre>", "````\n```\nx\n```\n````"),
        ("Born (; 1900)", "Born (1900)"),
        ("{{convert|5|km|mi|abbr=on}} of {{lang|la|[[mola]]}}{{lang}}", "5 km of mola"),
        ("{{unclosed [[link", "{{unclosed [[link"),
        ("[[:Category:Mills]] [[Help:Links|]]", "Category:Mills"),
    ],
)
def test_wikitext_becomes_text(wikitext, text):
    assert strip_wikitext(wikitext, {"file"}, {"category"}).text == text
