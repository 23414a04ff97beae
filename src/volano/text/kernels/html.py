"""A page of HTML as blocks of text, each with the element that it stands in: one scan of its bytes.

No tree of objects is built: an element is a row (its parent, its tag, what its names say it is
for), a block is a stretch of clean text. As forgiving as browsers in what pages need: unclosed
paragraphs, list items and cells, stray end tags, `<` in text, unquoted attributes. Scripts, styles
and controls give no text. However deep or broken a page is, the scan reads each byte once and
keeps at most one row per `<`.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME
from volano.text.kernels.html_attributes import PAST, read_attributes
from volano.text.kernels.html_names import (
    ENDS_PARAGRAPH,
    IS_INLINE,
    IS_RAW,
    IS_SKIPPED,
    IS_VOID,
    TAG,
    Names,
    look_up,
    names,
)
from volano.text.kernels.html_text import write_text

Array = npt.NDArray[Any]

# Columns of a block.
BEGIN, END, ELEMENT, LINK_BYTES, LINKS, BREAKS, ROW, ITEM, BLOCK_COLUMNS = range(9)
PARENT, TAG_CODE, DEPTH, ELEMENT_COLUMNS = range(4)  # columns of an element
DEEPEST = 512  # elements within one another; what lies deeper counts as standing in the last

_P, _A, _BR, _PRE, _LI = TAG["p"], TAG["a"], TAG["br"], TAG["pre"], TAG["li"]
_TABLE, _TR, _TD, _TH = TAG["table"], TAG["tr"], TAG["td"], TAG["th"]
_DL, _DT, _DD, _UL, _OL = TAG["dl"], TAG["dt"], TAG["dd"], TAG["ul"], TAG["ol"]
_BODY, _HEAD = TAG["body"], TAG["head"]
_OPEN, _CLOSE, _SLASH, _BANG, _QUESTION, _DASH = b"<>/!?-"


class Page(NamedTuple):
    """What one scan found. Element 0 is the page itself and holds all others."""

    text: Array  # uint8: the clean text of all blocks, one behind the other
    blocks: Array  # int64 (blocks, BLOCK_COLUMNS)
    elements: Array  # int32 (elements, ELEMENT_COLUMNS)
    parts: Array  # uint64 per element: bits of html_names.GROUPS


def scan_page(html: Array) -> Page:
    """The blocks of a page, given as the bytes of its UTF-8."""
    room = int(np.count_nonzero(html == _OPEN)) + 2
    # &nGt; is five bytes and stands for six; the last bytes are only looked at.
    text = np.zeros(len(html) + len(html) // 5 + 8, np.uint8)
    blocks = np.zeros((room, BLOCK_COLUMNS), np.int64)
    elements = np.zeros((room, ELEMENT_COLUMNS), np.int32)
    parts = np.zeros(room, np.uint64)
    counts = _scan(html, names(), text, blocks, elements, parts)
    found, used = int(counts[0]), int(counts[1])
    return Page(text, blocks[:found], elements[:used], parts[:used])


@numba.njit(nogil=True, cache=True)
def _scan(
    html: Array, known: Names, text: Array, blocks: Array, elements: Array, parts: Array
) -> tuple[Integer, Integer]:
    tags, traits, part_words, parts_of_tag, entities, entity_bytes = known
    # The open elements: row, hash of the name, tag code, and whether their text is left out.
    stack = np.zeros((DEEPEST, 4), np.int64)
    depth: Integer = np.int64(1)
    used: Integer = np.int64(1)
    count: Integer = np.int64(0)
    links: Integer = np.int64(0)  # open <a>
    preformatted: Integer = np.int64(0)  # open <pre>
    begin: Integer = np.int64(0)  # of the text of the block under way
    end: Integer = np.int64(0)
    attributes = np.zeros(2, np.uint64)
    size = len(html)
    last_close = size - 1  # of a comment; none ends behind it
    while last_close >= 2 and not _ends_comment(html, last_close):
        last_close -= 1
    place: Integer = np.int64(0)
    while place < size:
        if html[place] != _OPEN or place + 1 >= size or not _begins_markup(html[place + 1]):
            stop: Integer = place + 1
            while stop < size and html[stop] != _OPEN:
                stop += 1
            if stack[depth - 1, 3] == 0:
                before = end
                end = write_text(
                    html,
                    place,
                    stop,
                    text,
                    begin,
                    end,
                    bool(preformatted > 0),
                    entities,
                    entity_bytes,
                )
                if links > 0:
                    blocks[count, LINK_BYTES] += end - before
            place = stop
            continue
        following = html[place + 1]
        if following in (_BANG, _QUESTION):
            place = _behind_comment(html, place, last_close)
            continue
        ending = following == _SLASH
        start = place + 1 + ending
        place, key = _read_name(html, start)
        code = np.int64(look_up(tags, key))
        trait = traits[code]
        if ending:
            while place < size and html[place] != _CLOSE:
                place += 1
            place += 1
            open_at = _place_of(stack, depth, key, code, traits)
            if open_at > 0:
                if trait & IS_INLINE == 0 or _holds_block(stack, open_at, depth, traits):
                    count, begin, end = _end_block(text, blocks, count, begin, end, stack, depth)
                while depth > open_at:
                    depth -= 1
                    links -= stack[depth, 2] == _A
                    preformatted -= stack[depth, 2] == _PRE
            elif code in (_P, _BR):
                count, begin, end = _end_block(text, blocks, count, begin, end, stack, depth)
            continue
        place = read_attributes(html, place, part_words, attributes)
        if trait & IS_INLINE == 0:
            if code == _BR:
                # A line break; two in a row part paragraphs.
                if end > begin and text[end - 1] == 10 and preformatted == 0:
                    count, begin, end = _end_block(text, blocks, count, begin, end, stack, depth)
                elif end > begin and stack[depth - 1, 3] == 0:
                    while end > begin and text[end - 1] == 32 and preformatted == 0:
                        end -= 1
                    text[end] = 10
                    end += 1
                    blocks[count, BREAKS] += 1
                continue
            count, begin, end = _end_block(text, blocks, count, begin, end, stack, depth)
        if trait & IS_VOID:
            continue
        # What this tag ends without an end tag of its own.
        close_from = _implied_end(stack, depth, code, trait, traits)
        while depth > close_from:
            depth -= 1
            links -= stack[depth, 2] == _A
            preformatted -= stack[depth, 2] == _PRE
        above = stack[depth - 1, 0]
        row = above
        if used < len(elements):
            row = used
            elements[row, PARENT] = above
            elements[row, TAG_CODE] = code
            elements[row, DEPTH] = depth
            parts[row] = attributes[0] | parts_of_tag[code]
            used += 1
        if trait & IS_RAW:
            place = _behind_raw(html, place, start, key)
            continue
        if attributes[1] & PAST or depth >= DEEPEST:  # <div/> of SVG and the like, or too deep
            continue
        stack[depth, 0], stack[depth, 1], stack[depth, 2] = row, np.int64(key), code
        stack[depth, 3] = stack[depth - 1, 3] | (trait & IS_SKIPPED)
        if code == _BODY:  # a head that was never closed
            stack[depth, 3] = 0
        depth += 1
        if code == _A:
            links += 1
            blocks[count, LINKS] += 1
        preformatted += code == _PRE
    count, begin, end = _end_block(text, blocks, count, begin, end, stack, depth)
    return count, used


@numba.njit(nogil=True, cache=True, inline="always")
def _begins_markup(byte: Integer) -> bool:
    return bool(97 <= byte | 32 <= 122 or byte in (_SLASH, _BANG, _QUESTION))


@numba.njit(nogil=True, cache=True)
def _read_name(html: Array, place: Integer) -> tuple[Integer, np.uint64]:
    value = FNV_OFFSET
    while place < len(html):
        byte = html[place]
        if byte <= 32 or byte in (_CLOSE, _SLASH):
            break
        if 65 <= byte <= 90:
            byte |= np.uint8(0x20)
        value = (value ^ np.uint64(byte)) * FNV_PRIME
        place += 1
    return place, value


@numba.njit(nogil=True, cache=True)
def _ends_comment(html: Array, place: Integer) -> bool:
    return bool(html[place] == _CLOSE and html[place - 1] == _DASH and html[place - 2] == _DASH)


@numba.njit(nogil=True, cache=True)
def _behind_comment(html: Array, place: Integer, last_close: Integer) -> Integer:
    size = len(html)
    if place + 3 < size and html[place + 2] == _DASH and html[place + 3] == _DASH:
        start = place + 4
        stop = start
        while stop <= last_close:
            if _ends_comment(html, stop):
                return stop + 1
            stop += 1
        # Never closed: browsers lose the rest; the text behind it is worth more than the rule.
        return start
    while place < size and html[place] != _CLOSE:
        place += 1
    return place + 1


@numba.njit(nogil=True, cache=True)
def _behind_raw(html: Array, place: Integer, start: Integer, key: np.uint64) -> Integer:
    # Behind the end tag of a script and the like; one that is never closed takes the rest.
    size = len(html)
    while place < size:
        if html[place] == _OPEN and place + 1 < size and html[place + 1] == _SLASH:
            stop, name = _read_name(html, place + 2)
            if name == key:
                while stop < size and html[stop] != _CLOSE:
                    stop += 1
                return stop + 1
        place += 1
    return place


@numba.njit(nogil=True, cache=True)
def _place_of(
    stack: Array, depth: Integer, key: np.uint64, code: Integer, traits: Array
) -> Integer:
    # Where the element that an end tag ends lies on the stack; 0: nowhere, the tag is stray.
    # What gives no text ends in any case: a menu in a button must not swallow the page.
    inline = traits[code] & (IS_INLINE | IS_SKIPPED) == IS_INLINE
    cell = code != _TABLE and code != _TR and code != _TD and code != _TH and code != _BODY
    place = depth - 1
    while place > 0:
        if np.uint64(stack[place, 1]) == key:
            return place
        open_code = stack[place, 2]
        if inline and traits[open_code] & IS_INLINE == 0:
            return 0
        if cell and (open_code in (_TD, _TH)):
            return 0
        place -= 1
    return 0


@numba.njit(nogil=True, cache=True)
def _holds_block(stack: Array, begin: Integer, depth: Integer, traits: Array) -> bool:
    for place in range(begin, depth):  # noqa: SIM110 (compiled code has no generators)
        if traits[stack[place, 2]] & IS_INLINE == 0:
            return True
    return False


@numba.njit(nogil=True, cache=True)
def _implied_end(
    stack: Array, depth: Integer, code: Integer, trait: Integer, traits: Array
) -> Integer:
    # The depth that is left when the tag has ended what cannot hold it.
    place = depth - 1
    if code == _A:  # links do not nest
        while place > 0 and traits[stack[place, 2]] & IS_INLINE:
            if stack[place, 2] == _A:
                return place
            place -= 1
        return depth
    left = depth
    if trait & ENDS_PARAGRAPH:
        while place > 0 and (stack[place, 2] == _P or traits[stack[place, 2]] & IS_INLINE):
            if stack[place, 2] == _P:
                left = place
                break
            place -= 1
    first = second = barrier = other = 0
    if code == _LI:
        first, second, barrier, other = _LI, _LI, _UL, _OL
    elif code in (_DT, _DD):
        first, second, barrier, other = _DT, _DD, _DL, _DL
    elif code in (_TD, _TH):
        first, second, barrier, other = _TD, _TH, _TR, _TABLE
    elif code == _TR:
        first, second, barrier, other = _TR, _TR, _TABLE, _TABLE
    elif code == _BODY:
        first, second, barrier, other = _HEAD, _HEAD, _BODY, _BODY
    else:
        return left
    place = left - 1
    while place > 0:
        open_code = stack[place, 2]
        if open_code in (first, second):
            return place
        if open_code in (barrier, other, _TABLE):
            return left
        place -= 1
    return left


@numba.njit(nogil=True, cache=True)
def _end_block(
    text: Array,
    blocks: Array,
    count: Integer,
    begin: Integer,
    end: Integer,
    stack: Array,
    depth: Integer,
) -> tuple[Integer, Integer, Integer]:
    # Close the block under way; one without text leaves no trace.
    while end > begin and (text[end - 1] == 32 or text[end - 1] == 10):
        end -= 1
    if end == begin:
        blocks[count, LINK_BYTES] = blocks[count, LINKS] = blocks[count, BREAKS] = 0
        return count, begin, begin
    blocks[count, BEGIN], blocks[count, END] = begin, end
    blocks[count, ELEMENT] = stack[depth - 1, 0]
    for place in range(depth - 1, 0, -1):
        code = stack[place, 2]
        if code == _TR and blocks[count, ROW] == 0:
            blocks[count, ROW] = stack[place, 0]
        elif code == _LI and blocks[count, ITEM] == 0:
            blocks[count, ITEM] = stack[place, 0]
    return count + 1, end, end
