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
MOST_BLOCKS = 100_000
_HEAD_BYTES = 200_000  # where title, language and date are looked for


class NoPage(ValueError):
    """What has the form of a page, but is none that anybody reads."""


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
    none reaches it, those count that come near the likeliest one, if that is likely at all. Raises
    NoPage for more than MOST_BLOCKS pieces of text, which no page has.
    """
    page = scan_page(np.frombuffer(html, np.uint8))
    if len(page.blocks) > MOST_BLOCKS:
        raise NoPage(f"more than {MOST_BLOCKS:,} pieces of text")
    trees, chosen = _model()
    likely = probabilities(trees, block_features(page))
    bound = chosen if threshold is None else threshold
    best = float(likely.max()) if len(likely) else 0.0
    if best < bound:
        bound = max(best / 2, bound / 4)
    return MainText(_joined(page, np.flatnonzero(likely >= bound)), *_stated(html[:_HEAD_BYTES]))


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


# Each pattern reads a byte a bounded number of times: a page may be made to be slow.
_TAG = re.compile(rb"<(meta|html|time)\b([^<>]{0,2000})>", re.I)
_ATTRIBUTE = re.compile(rb"""([\w:.-]{1,40})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_TITLE = re.compile(rb"<title\b[^<>]{0,500}>([^<]{1,1000})", re.I)
_JSON_DATE = re.compile(rb'"datePublished"\s{0,9}:\s{0,9}"([^"<>]{4,40})"')
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_DATE_NAMES = (
    "article:published_time", "datepublished", "date", "dc.date", "dcterms.created", "pubdate",
)  # fmt: skip


def _stated(head: bytes) -> tuple[str | None, str | None, str | None]:
    """Title, language and date of publication, as the head of a page states them."""
    named: dict[str, str] = {}
    for tag, inside in _TAG.findall(head):
        attributes = {
            name.lower(): _plain(quoted or single or bare)
            for name, quoted, single, bare in reversed(_ATTRIBUTE.findall(inside))
        }
        if tag.lower() == b"meta":
            for key in (b"property", b"name", b"itemprop"):
                if key in attributes and attributes.get(b"content"):
                    named.setdefault(attributes[key].lower(), attributes[b"content"])
        elif tag.lower() == b"html":
            named.setdefault("<html>", attributes.get(b"lang", ""))
        else:
            named.setdefault("<time>", attributes.get(b"datetime", ""))
    title, dated = _TITLE.search(head), _JSON_DATE.search(head)
    language = _LANGUAGE.match(named.get("<html>", ""))
    dates = [named.get(name) for name in _DATE_NAMES]
    dates += [_plain(dated[1]) if dated else None, named.get("<time>")]
    return (
        named.get("og:title") or (_plain(title[1]) if title else None) or None,
        language[0] if language else None,
        next((date for date in dates if date), None),
    )


def _plain(content: bytes) -> str:
    return " ".join(unescape(content.decode("utf-8", "replace")).split())


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
