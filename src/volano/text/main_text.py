"""The main text of a web page, without the menus, teasers, comments and notices around it.

A scan cuts the page into blocks (text.kernels.html); boosted trees say of each how likely it is
main text, from its own form and from what stands around it (text.kernels.html_blocks). The trees
were trained by scripts/train_main_text.py, which says on what; docs/decisions/0009 has the
figures.
"""

import functools
import json
import re
from dataclasses import dataclass
from html import unescape
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from volano.text.kernels.html import BEGIN, END, ITEM, ROW, Page, scan_page
from volano.text.kernels.html_blocks import FEATURES, block_features
from volano.text.kernels.trees import Trees, probabilities

MODEL = "main_text.safetensors"
_HEAD_BYTES = 200_000  # where title, language and date are looked for


@dataclass(frozen=True)
class MainText:
    """What a page says. `text` has one line per paragraph, heading, list item (after "- ") and row
    of a table (cells between " | "); it is empty where nothing looks like main text."""

    text: str
    title: str | None
    language: str | None  # as the page itself states it, such as en-GB
    date: str | None  # of publication, as the page states it


def main_text(html: bytes, threshold: float | None = None) -> MainText:
    """The main text of a page, given as UTF-8 (see `decoded` in collect.readers.html).

    Blocks count from probability `threshold` on (default: the one that the training chose). Where
    none reaches it, those count that come near the likeliest one, if that is likely at all.
    """
    page = scan_page(np.frombuffer(html, np.uint8))
    trees, chosen = _model()
    likely = probabilities(trees, block_features(page))
    bound = chosen if threshold is None else threshold
    best = float(likely.max()) if len(likely) else 0.0
    if best < bound:
        bound = max(best / 2, bound / 4)
    head = html[:_HEAD_BYTES]
    return MainText(
        _joined(page, np.flatnonzero(likely >= bound)),
        _first(_TITLES, head),
        _first(_LANGUAGES, head),
        _first(_DATES, head),
    )


def block_texts(page: Page) -> list[str]:
    """The text of each block of a page."""
    return [
        page.text[block[BEGIN] : block[END]].tobytes().decode("utf-8", "replace")
        for block in page.blocks
    ]


def _joined(page: Page, rows: npt.NDArray[np.int64]) -> str:
    utf8 = page.text.tobytes() if len(rows) else b""
    pieces: list[bytes] = []
    row = item = 0
    for begin, end, table_row, list_item in page.blocks[rows][:, [BEGIN, END, ROW, ITEM]].tolist():
        piece = utf8[begin:end]
        if table_row and table_row == row:
            pieces += [b" | ", piece]
        else:
            bullet = b"- " if list_item and list_item != item else b""
            pieces += [b"\n" if pieces else b"", bullet, piece]
        row, item = table_row, list_item
    return b"".join(pieces).decode("utf-8", "replace")


_CONTENT = rb"""\bcontent=(?:"([^"]*)"|'([^']*)')"""
_NAMED = rb"""\b(?:property|name|itemprop)=["']?(?:%s)["'\s/>]"""
_META = rb"<meta\b[^>]*?" + _NAMED + rb"[^>]*?" + _CONTENT
_META_BEHIND = rb"<meta\b[^>]*?" + _CONTENT + rb"[^>]*?" + _NAMED


def _meta(names: bytes) -> list[re.Pattern[bytes]]:
    return [re.compile(form % names, re.I) for form in (_META, _META_BEHIND)]


_TITLES = [*_meta(rb"og:title"), re.compile(rb"<title\b[^>]*>([^<]*)", re.I)]
_LANGUAGES = [
    re.compile(rb"<html\b[^>]*?\blang=[\"']?([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)", re.I)
]
_DATES = [
    *_meta(rb"article:published_time|datePublished|date|dc\.date|dcterms\.created|pubdate"),
    re.compile(rb'"datePublished"\s*:\s*"([^"]{4,40})"'),
    re.compile(rb"<time\b[^>]*?\bdatetime=[\"']?([^\"'>\s]{4,40})", re.I),
]


def _first(patterns: list[re.Pattern[bytes]], head: bytes) -> str | None:
    for pattern in patterns:
        match = pattern.search(head)
        if match:
            found = next((group for group in match.groups() if group), b"")
            text = " ".join(unescape(found.decode("utf-8", "replace")).split())
            if text:
                return text
    return None


@functools.cache
def _model() -> tuple[Trees, float]:
    from safetensors.numpy import load

    content = files("volano.text").joinpath("data", MODEL).read_bytes()
    arrays = load(content)
    length = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + length])["__metadata__"]
    if described["features"] != " ".join(FEATURES):
        raise AssertionError(
            f"{MODEL} was trained on other features: run scripts/train_main_text.py"
        )
    trees = Trees(*(arrays[name] for name in Trees._fields))
    for array in trees:
        array.flags.writeable = False
    return trees, float(described["threshold"])
