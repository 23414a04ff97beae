"""Text of wiki pages beside mwparserfromhell's own `strip_code`: pages a second, markup left.

    python benchmarks/wikitext.py DUMP.xml.bz2 [--pages N] [--rounds N] [--json]

The peer is what the `wikipedia` sets of Hugging Face were made with: the same parser, files and
categories removed, then `strip_code`. Both sides run in this process on the same pages, in turns;
`reader` is our whole reader of the dump (XML, a parser in a process of its own). Markup left is the
fraction of pages with one of {{ }} [[ ]] {| |} <ref in their text.
"""

import argparse
import json
import re
import time
from pathlib import Path
from statistics import median
from typing import Any

import mwparserfromhell

from volano.collect.readers import wikipedia
from volano.collect.readers.fields import Cursor, Fields
from volano.collect.readers.wikitext import strip_wikitext

FILES = {"file", "image", "media"}
CATEGORIES = {"category"}
MARKUP = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|<ref")


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dump", type=Path)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pages = list(articles(options.dump))[: options.pages]
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    texts: dict[str, list[str]] = {}
    for _ in range(options.rounds):
        for side, function in SIDES.items():
            begun = time.perf_counter()
            texts[side] = [function(page) for page in pages]
            seconds[side].append(time.perf_counter() - begun)
    begun = time.perf_counter()
    read = list(wikipedia.read_wikipedia(options.dump, options.dump.name, "text", None, Cursor()))
    whole = time.perf_counter() - begun
    report: dict[str, Any] = {
        "pages": len(pages),
        "wikitext_megabytes": sum(len(page.encode()) for page in pages) / 1e6,
        "reader_documents_per_second": sum(isinstance(each, Fields) for each in read) / whole,
    }
    for side in SIDES:
        report[side] = {
            "pages_per_second": len(pages) / median(seconds[side]),
            "seconds": seconds[side],
            "markup_left_fraction": sum(bool(MARKUP.search(text)) for text in texts[side])
            / len(pages),
            "text_characters": sum(map(len, texts[side])),
        }
    print(json.dumps(report, indent=2) if options.json else _table(report))


def articles(dump: Path) -> list[str]:
    """The wikitext of the articles of a dump."""
    found = []
    for _, piece in wikipedia.pieces(dump):
        if isinstance(piece, bytes) and piece.startswith(b"<page>"):
            page = wikipedia.parsed(piece)
            if wikipedia.reason_to_pass(page) is None:
                found.append(page.text)
    return found


def ours(wikitext: str) -> str:
    """Our text of a page."""
    return strip_wikitext(wikitext, FILES, CATEGORIES).text


def peer(wikitext: str) -> str:
    """The same page by `strip_code`, links to files and categories removed before."""
    code = mwparserfromhell.parse(wikitext)
    for link in code.ifilter_wikilinks(recursive=False):
        if str(link.title).partition(":")[0].strip().lower() in FILES | CATEGORIES:
            code.remove(link)
    return str(code.strip_code(normalize=True, collapse=True)).strip()


SIDES = {"volano": ours, "strip_code": peer}


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['pages']} pages, {report['wikitext_megabytes']:.1f} MB of wikitext"]
    for side in SIDES:
        found = report[side]
        lines.append(
            f"{side:12} {found['pages_per_second']:6.1f} pages/s   markup left on "
            f"{found['markup_left_fraction']:.1%}   {found['text_characters']:,} characters"
        )
    lines.append(f"whole reader {report['reader_documents_per_second']:6.1f} documents/s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
