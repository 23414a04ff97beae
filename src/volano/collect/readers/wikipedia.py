"""Dumps of Wikipedia and other wikis of MediaWiki: one document a page, wikitext stripped.

A dump is cut at the marks `<page>` and `</page>`, which no page can hold (its own are escaped), and
each page is parsed by itself: memory is that of one page, and damage costs the page that it hits.
Entities cannot be declared inside a page, so none can be blown up.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from xml.parsers import expat

from volano.collect.readers.fields import Cursor, Fields, PassedOver, Read
from volano.collect.readers.wikitext import Stripped, strip_wikitext
from volano.core.errors import MissingExtra
from volano.core.isolated import Isolated, Lost
from volano.core.jsonlines import EXCERPT_CHARACTERS, Problem, read_chunks

LICENCE = "CC-BY-SA-4.0"  # of Wikipedia's text since June 2023; before that 3.0
MAX_PAGE_BYTES = 1 << 26  # of XML, with all revisions
MAX_WIKITEXT_CHARACTERS = 1 << 22  # MediaWiki itself takes two million bytes
MAX_DEPTH = 16
SECONDS_PER_PAGE = 60.0  # the slowest honest pages take two
_HEAD_BYTES = 1 << 20
_END_LENGTH = len(b"</page>")
_SPACE = re.compile(r'<namespace\s+key="(-?\d+)"[^>]*>([^<]*)</namespace>')
_REDIRECT = re.compile(r"\s*#[^\W\d_]+\s*:?\s*\[\[")


class _Damaged(ValueError): ...


@dataclass(frozen=True)
class Site:
    """What a dump says of its wiki."""

    name: str = ""
    base: str = ""
    language: str = ""
    file_names: frozenset[str] = frozenset({"file", "image", "media"})
    category_names: frozenset[str] = frozenset({"category"})

    @classmethod
    def read(cls, head: str) -> "Site":
        """From all that stands before the first page."""
        spaces = [(int(key), unescape(name).lower()) for key, name in _SPACE.findall(head)]
        base = _first(r"<base>([^<]*)<", head)
        return cls(
            name=_first(r"<dbname>([^<]*)<", head),
            base=base[: base.rfind("/") + 1] if base.startswith(("http://", "https://")) else "",
            language=_first(r'xml:lang="([\w-]+)"', head),
            file_names=cls.file_names | {name for key, name in spaces if key in {-2, 6}},
            category_names=cls.category_names | {name for key, name in spaces if key == 14},
        )

    def url(self, title: str) -> str:
        """Where a page can be read; "" where the dump does not say."""
        return self.base + quote(title.replace(" ", "_"), safe="/:,()'!*") if self.base else ""


class Page(NamedTuple):
    """The newest revision of one page as the dump has it."""

    title: str
    id: str
    namespace: str
    redirect: bool
    model: str
    timestamp: str
    text: str


def is_wikipedia(head: bytes) -> bool:
    """A file that begins so is a dump of a wiki."""
    return b"<mediawiki" in head


def read_wikipedia(
    path: Path, name: str, text_field: str, licence: str | None, cursor: Cursor
) -> Read:
    """The articles of a dump, in its order. A page is called by the file and its number in the
    wiki; one that cannot be parsed, by its byte in the unpacked file."""
    if find_spec("mwparserfromhell") is None:
        remedy = "Install it: pip install 'volano[wiki]'."
        raise MissingExtra("wikitext is parsed by mwparserfromhell, which is missing", name, remedy)
    site = Site()
    done = cursor.state or 0  # bytes; finding pages again is fast, and parsing them is not
    for offset, piece in pieces(path):
        is_head = isinstance(piece, bytes) and not piece.startswith(b"<page>")
        if offset < done and not is_head:
            continue
        cursor.state = offset + 1
        where = f"{name}:byte {offset}"
        if isinstance(piece, _Damaged):
            yield Problem(where, str(piece), "")
            continue
        if not piece.startswith(b"<page>"):  # what stands before the first
            site = Site.read(piece.decode("utf-8", "replace"))
            continue
        try:
            page = parsed(piece)
        except (_Damaged, expat.ExpatError) as failure:
            excerpt = piece[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
            yield Problem(where, f"not XML ({failure})", excerpt)
            continue
        where = f"{name}:{page.id}"
        refused = reason_to_pass(page)
        if refused is not None:
            yield PassedOver(refused)
            continue
        if len(page.text) > MAX_WIKITEXT_CHARACTERS:
            yield Problem(where, f"longer than {MAX_WIKITEXT_CHARACTERS:,} characters", "")
            continue
        try:
            stripped = _child().call(
                strip_wikitext, page.text, site.file_names, site.category_names
            )
        except Lost as failure:
            yield Problem(where, f"wikitext cannot be parsed ({failure})", page.title)
            continue
        yield _fields(page, stripped, site, where, name, text_field, licence)


def reason_to_pass(page: Page) -> str | None:
    if page.namespace != "0":
        return "pages outside the main namespace"
    if page.redirect or (len(page.text) < 1000 and _REDIRECT.match(page.text)):
        return "redirects"
    if page.model not in {"", "wikitext"}:
        return f"pages of model {page.model}"
    return None


def _fields(
    page: Page,
    stripped: Stripped,
    site: Site,
    where: str,
    name: str,
    text_field: str,
    licence: str | None,
) -> Fields | PassedOver:
    if not stripped.text:
        return PassedOver("pages without text")
    values = {
        "id": f"{site.name}:{page.id}" if site.name else "",
        "title": page.title,
        "url": site.url(page.title),
        "date": page.timestamp,
        "licence": licence or LICENCE,
        "stated_language": site.language,
        "media": stripped.media,
    }
    stated = {key: value for key, value in values.items() if value}
    return Fields(where, name, {text_field: stripped.text, **stated})


def pieces(path: Path) -> Iterator[tuple[int, bytes | _Damaged]]:
    # First what stands before the first page, then page by page; each with its unpacked place.
    buffer = bytearray()
    place = searched = 0  # of the buffer in the file; what of the buffer holds no end
    begun = headed = False
    try:
        for chunk in read_chunks(path):
            buffer += chunk
            while True:
                if not begun:
                    found = buffer.find(b"<page>")
                    if found < 0:
                        keep = _HEAD_BYTES if not headed else _END_LENGTH
                        place += max(0, len(buffer) - keep)
                        del buffer[: max(0, len(buffer) - keep)]
                        break
                    if not headed:
                        yield place, bytes(buffer[:found])
                    del buffer[:found]
                    place, searched, begun, headed = place + found, 0, True, True
                end = buffer.find(b"</page>", searched)
                if end < 0:
                    searched = max(0, len(buffer) - _END_LENGTH)
                    if len(buffer) > MAX_PAGE_BYTES:
                        yield place, _Damaged(f"a page longer than {MAX_PAGE_BYTES:,} bytes")
                        place, begun = place + len(buffer), False
                        buffer.clear()
                    break
                last = buffer.rfind(b"<page>", 0, end)
                if last > 0:
                    yield place, _Damaged("a page without its end")
                yield place + last, bytes(buffer[last : end + _END_LENGTH])
                del buffer[: end + _END_LENGTH]
                place, begun = place + end + _END_LENGTH, False
    except EOFError as failure:
        yield place, _Damaged(f"truncated or damaged file ({failure})")
        return
    if begun:
        yield place, _Damaged("the file ends inside a page")
    elif not headed:
        yield place, _Damaged("no page in this file")


def parsed(xml: bytes) -> Page:
    found: dict[str, str] = {}
    newest: dict[str, str] = {}
    path: list[str] = []
    parts: list[str] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        path.append(tag)
        if len(path) > MAX_DEPTH:
            raise _Damaged(f"nested deeper than {MAX_DEPTH}")
        if path == ["page", "revision"]:
            for key in [key for key in found if key.startswith("page/revision/")]:
                del found[key]
        parts.clear()

    def end(tag: str) -> None:
        key = "/".join(path)
        found[key] = "".join(parts)
        parts.clear()
        path.pop()
        if key == "page/revision":
            stamp = "page/revision/timestamp"
            if not newest or found.get(stamp, "") >= newest.get(stamp, ""):
                newest.clear()
                newest.update(found)

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = parts.append
    parser.Parse(xml, True)
    return Page(
        title=found.get("page/title", ""),
        id=found.get("page/id", ""),
        namespace=found.get("page/ns", "0"),
        redirect="page/redirect" in found,
        model=newest.get("page/revision/model", ""),
        timestamp=newest.get("page/revision/timestamp", ""),
        text=newest.get("page/revision/text", ""),
    )


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return unescape(found[1]) if found else ""


@functools.cache
def _child() -> Isolated:
    return Isolated(SECONDS_PER_PAGE)  # kept from file to file; ends with the process that has it
