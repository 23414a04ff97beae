"""Books in EPUB: a zip of pages of XHTML, with a file that says their order.

Read by Python's own zipfile and expat (docs/decisions/0010-sources.md says why by no library). What
the zip says of sizes is not believed: every part is unpacked up to a bound and no further.
"""

import io
import posixpath
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.parsers import expat

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.html import as_utf8
from volano.collect.readers.markup import html_text
from volano.collect.readers.text import read_whole
from volano.core.jsonlines import Problem

MAX_BOOK_BYTES = 1 << 28  # of all pages, unpacked
MAX_PAGE_BYTES = 1 << 25
MAX_PARTS = 20_000
MAX_ELEMENTS = 200_000
MAX_LICENCE_CHARACTERS = 100
_PAGES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}
_VOID = frozenset(
    {
        "area", "base", "br", "col", "embed", "hr", "img", "image", "input", "link", "meta",
        "param", "source", "track", "wbr",
    }
)  # fmt: skip
_CLOSED = re.compile(r"<([a-zA-Z][\w:.-]*)([^<>]{0,1000})/>")


class _Refused(ValueError): ...


class _Element(NamedTuple):
    name: str  # without its namespace
    attributes: dict[str, str]
    text: str


def read_epub(path: Path, name: str, text_field: str, licence: str | None) -> Read:
    """The book of one file: the pages in the order of reading, a blank line between them."""
    for content in read_whole(path, name):
        if isinstance(content, Problem):
            yield content
            return
        if content.count(b"PK\x01\x02") > MAX_PARTS:  # zipfile would keep a record of each
            yield Problem(name, f"more than {MAX_PARTS:,} parts", "")
            return
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as book:
                yield _book(_Parts(book), name, text_field, licence)
        except _Refused as failure:
            yield Problem(name, str(failure), "")
        # zipfile raises these, and RuntimeError, on what it cannot make sense of
        except (
            zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError,
            ValueError, expat.ExpatError,
        ) as failure:  # fmt: skip
            yield Problem(name, f"not EPUB, or damaged ({failure})", "")


class _Parts:
    # The parts of a zip, each unpacked at most once and all together up to a bound.

    def __init__(self, book: zipfile.ZipFile) -> None:
        self._book = book
        self._left = MAX_BOOK_BYTES
        self.names = {info.filename: info for info in book.infolist()}

    def read(self, name: str) -> bytes:
        info = self.names.get(name) or self.names.get(unquote(name))
        if info is None:
            raise _Refused(f"no part '{name}'")
        if info.flag_bits & 1:
            raise _Refused("encrypted")
        bound = min(MAX_PAGE_BYTES, self._left)
        with self._book.open(info) as stream:
            content = stream.read(bound + 1)
        if len(content) > bound:
            raise _Refused(f"'{name}' unpacks to more than {bound:,} bytes")
        self._left -= len(content)
        return content


def _book(
    parts: _Parts, name: str, text_field: str, licence: str | None
) -> Fields | Problem | PassedOver:
    container = _elements(parts.read("META-INF/container.xml"))
    roots = [each for each in container if each.name == "rootfile"]
    if not roots or "full-path" not in roots[0].attributes:
        raise _Refused("its container names no package")
    package = roots[0].attributes["full-path"]
    elements = _elements(parts.read(package))
    items = {each.attributes.get("id"): each.attributes for each in elements if each.name == "item"}
    folder = posixpath.dirname(package)
    locked = _encrypted(parts)
    texts: list[str] = []
    media: list[str] = []
    for each in elements:
        item = items.get(each.attributes.get("idref")) if each.name == "itemref" else None
        if item is None or each.attributes.get("linear") == "no":
            continue
        navigation = "nav" in item.get("properties", "").split()
        if navigation or item.get("media-type") not in _PAGES:
            continue
        place = posixpath.normpath(posixpath.join(folder, item.get("href", "").partition("#")[0]))
        if locked & {place, unquote(place)}:
            raise _Refused("encrypted")
        page = as_utf8(parts.read(place), None).decode("utf-8", "replace")
        said = html_text(_CLOSED.sub(_opened, page))
        texts += [said.text] if said.text else []
        media += said.media
    if not texts:
        return PassedOver("books without text")
    stated = _stated(elements, licence) | ({"media": media[:100]} if media else {})
    return Fields(name, name, {text_field: "\n\n".join(texts), **stated})


def _stated(elements: list[_Element], licence: str | None) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for each in elements:
        if each.text.strip():
            found.setdefault(each.name, []).append(" ".join(each.text.split()))
    rights = found.get("rights", [""])[0]
    values = {
        "title": found.get("title", [""])[0],
        "author": ", ".join(found.get("creator", [])),
        "stated_language": found.get("language", [""])[0],
        "date": found.get("date", [""])[0],
        "identifier": found.get("identifier", [""])[0],
        "rights": rights,
        "licence": licence or (rights if len(rights) <= MAX_LICENCE_CHARACTERS else ""),
    }
    return {key: value for key, value in values.items() if value}


def _encrypted(parts: _Parts) -> set[str]:
    # Fonts are often scrambled, which matters to nobody; a page that is listed cannot be read.
    name = "META-INF/encryption.xml"
    if name not in parts.names:
        return set()
    elements = _elements(parts.read(name))
    return {each.attributes.get("URI", "") for each in elements if each.name == "CipherReference"}


def _elements(xml: bytes) -> list[_Element]:
    # All elements in the order of their beginnings, flat; the text is that outside of others.
    found: list[tuple[str, dict[str, str], list[str]]] = []
    open_: list[list[str]] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if len(found) >= MAX_ELEMENTS:
            raise _Refused(f"more than {MAX_ELEMENTS:,} elements in one part")
        text: list[str] = []
        found.append((tag.rpartition(":")[2], attributes, text))
        open_.append(text)

    def end(tag: str) -> None:
        open_.pop()

    def text(content: str) -> None:
        if open_:
            open_[-1].append(content)

    def declared(*details: object) -> None:
        raise _Refused("declares an entity")  # which can stand for gigabytes

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = declared
    parser.Parse(xml, True)
    return [_Element(name, attributes, "".join(parts)) for name, attributes, parts in found]


def _opened(tag: re.Match[str]) -> str:
    # HTML knows no <title/>: it would take all that follows for the title.
    return tag[0] if tag[1].lower() in _VOID else f"<{tag[1]}{tag[2]}></{tag[1]}>"
