"""Web pages: one document a page, of its main text alone (text.main_text)."""

import codecs
from pathlib import Path
from typing import Any

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.text import read_whole
from volano.core.jsonlines import Problem
from volano.text.main_text import NoPage, main_text

MAX_PAGE_BYTES = 1 << 23
UTF_8 = "utf-8"
NO_MAIN_TEXT = PassedOver("pages without main text")
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before the next, with which it begins
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_html(path: Path, name: str, text_field: str) -> Read:
    """The one document of a file. Of a compressed file that stops short, what could be read."""
    for content in read_whole(path, name):
        yield (
            content
            if isinstance(content, Problem)
            else page_fields(content, None, name, name, text_field)
        )


def page_of(fields: Fields, text_field: str) -> Fields | Problem | PassedOver:
    """A record whose field of text holds a page, with the page's main text in its place."""
    page = fields.values.get(text_field)
    if not isinstance(page, str) or not page:
        return fields  # for the one who makes documents to refuse
    stated = {name: value for name, value in fields.values.items() if name != text_field}
    content = page.encode("utf-8", "replace")
    return page_fields(content, UTF_8, fields.where, fields.source, text_field, stated)


def page_fields(
    content: bytes,
    charset: str | None,
    where: str,
    source: str,
    text_field: str,
    stated: dict[str, Any] | None = None,
) -> Fields | Problem | PassedOver:
    """A page as a record: its main text, and what it states of itself. `charset` is what the server
    said; `stated` are fields that are known from elsewhere and win over the page's own."""
    if len(content) > MAX_PAGE_BYTES:
        return Problem(where, f"longer than the {MAX_PAGE_BYTES:,} bytes of a page", "")
    try:
        found = main_text(as_utf8(content, charset))
    except NoPage as problem:
        return Problem(where, str(problem), "")
    if not found.text:
        return NO_MAIN_TEXT
    own = {"title": found.title, "stated_language": found.language, "date": found.date}
    values = {name: value for name, value in own.items() if value} | (stated or {})
    return Fields(where, source, {text_field: found.text, **values})


def as_utf8(content: bytes, charset: str | None) -> bytes:
    """A page in UTF-8. Its encoding is told, as browsers have it, by a byte order mark, by the
    server, by the page, and else guessed, as it is where UTF-8 is claimed and most of it is none;
    bytes that are no characters become U+FFFD."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

    for mark, marked in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(marked, "replace").encode()
    encoding = charset and map_encoding_to_html5(charset, fallback_utf8=False)
    if encoding is None:
        encoding = detect_encoding(content, from_html_meta=True)
        if encoding and encoding.startswith("utf-16"):  # that it could be read says it is not
            encoding = _wide_encoding(content)
    if encoding == UTF_8:
        try:
            content.decode()
        except UnicodeDecodeError:
            encoding = _doubted(content)
        else:
            return content
    text: str = bytes_to_str(content, encoding or UTF_8, errors="replace", fallback_encodings=())
    return text.encode("utf-8", "replace")


def _doubted(content: bytes) -> str:
    # UTF-8 proves itself: where most characters beyond ASCII are none in it, it is claimed wrongly.
    from resiliparse.parse.encoding import detect_encoding

    text = content.decode("utf-8", "replace")
    beyond = sum(not character.isascii() for character in text)
    if 2 * text.count("\ufffd") <= beyond:
        return UTF_8
    for by_meta in (True, False):
        found: str | None = detect_encoding(content, from_html_meta=by_meta)
        if found and found != UTF_8 and not found.startswith("utf-16"):
            return found
    return UTF_8


def _wide_encoding(content: bytes) -> str:
    # Markup is ASCII, so every other byte of it is zero.
    even, odd = content[0:200:2].count(0), content[1:200:2].count(0)
    if max(even, odd) < 40:
        return UTF_8
    return "utf-16-be" if even > odd else "utf-16-le"
