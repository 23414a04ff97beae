"""What sets the blocks of a page apart: its main text from menus, teasers, comments and notices.

One row of numbers per block, for text.main_text to judge: the block's own text, the element that it
stands in and what surrounds that, its neighbours, and the element that holds most of the page's
prose (the idea of Readability, Arc90 2009).
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME
from volano.text.kernels.html import (
    BEGIN,
    BREAKS,
    DEPTH,
    ELEMENT,
    END,
    ITEM,
    LINK_BYTES,
    LINKS,
    PARENT,
    ROW,
    TAG_CODE,
    Page,
)
from volano.text.kernels.html_names import GROUPS, TAG, TAGS

Array = npt.NDArray[Any]
NONE = 20.0  # a distance to what is not there
NEIGHBOURS = (-2, -1, 1, 2)
OWN = (
    "characters", "words", "sentences", "commas", "digit_fraction", "capital_fraction",
    "link_fraction", "links", "breaks", "ends_sentence", "word_characters", "marks", "tag_kind",
    "depth", "in_item", "in_row", "occurrences",
)  # fmt: skip
AROUND = (
    "place", "text_before", "behind_heading", "blocks_in_parent", "prose_in_parent",
    "links_in_parent", "blocks_in_grandparent", "prose_in_grandparent", "links_in_grandparent",
    "best_distance", "in_best", "score_ratio", "prose_nearby", "links_nearby",
)  # fmt: skip
PAGE = ("page_blocks", "page_characters", "page_prose_fraction", "page_article_fraction",
        "page_main_fraction", "best_fraction")  # fmt: skip
OF_NEIGHBOUR = ("characters", "link_fraction", "sentences", "tag_kind", "levels_apart")
FEATURES = (
    *OWN,
    *AROUND,
    *PAGE,
    *(f"{name}_{place:+d}" for place in NEIGHBOURS for name in OF_NEIGHBOUR),
    *(f"levels_to_{name}" for name in GROUPS),
)
_AROUND, _PAGE = len(OWN), len(OWN) + len(AROUND)
_NEIGHBOURS = _PAGE + len(PAGE)
_GROUPS = _NEIGHBOURS + len(NEIGHBOURS) * len(OF_NEIGHBOUR)
_NEIGHBOUR_PLACES = np.array(NEIGHBOURS)
_PROSE_CHARACTERS, _NEARBY = 80, 6
_IN_ARTICLE, _IN_MAIN = GROUPS.index("in_article"), GROUPS.index("in_main")

# Kinds of element that a block stands in, in an order that a threshold can part.
_KINDS = np.full(len(TAGS) + 1, 3, np.float32)
for _kind, _names in enumerate(
    ("h1", "h2 h3", "h4 h5 h6 summary caption", "", "p", "blockquote", "pre code", "li", "dt dd",
     "td th", "a", "figcaption label time small")
):  # fmt: skip
    for _name in _names.split():
        _KINDS[TAG[_name]] = _kind
_KINDS[TAG["span"]] = 12
_H1 = TAG["h1"]


def block_features(page: Page) -> Array:
    """float32 (blocks, FEATURES) of a page."""
    features = np.zeros((len(page.blocks), len(FEATURES)), np.float32)
    _fill(page.text, page.blocks, page.elements, page.parts, features)
    return features


@numba.njit(nogil=True, cache=True)
def _fill(text: Array, blocks: Array, elements: Array, parts: Array, features: Array) -> None:
    count = len(blocks)
    if count == 0:
        return
    hashes = np.empty(count, np.uint64)
    for row in range(count):
        hashes[row] = _own(text, blocks[row], elements, features[row])
    _count_occurrences(hashes, features)
    _fill_distances(blocks, elements, parts, features)
    _fill_around(blocks, elements, features)
    _fill_neighbours(blocks, elements, features)


@numba.njit(nogil=True, cache=True)
def _own(text: Array, block: Array, elements: Array, found: Array) -> np.uint64:
    begin, end = block[BEGIN], block[END]
    characters = spaces = sentences = commas = digits = capitals = marks = 0
    value = FNV_OFFSET
    wide = 0  # characters of scripts without spaces
    for place in range(begin, end):
        byte = np.int64(text[place])
        value = (value ^ np.uint64(byte)) * FNV_PRIME
        characters += (byte & 0xC0) != 0x80
        if byte >= 0xE3:
            wide += 1
            if byte == 0xE3 and text[place + 1] == 0x80 and text[place + 2] == 0x82:
                sentences += 1  # 。
        elif byte == 0xEF and text[place + 1] == 0xBC:
            third = text[place + 2]
            sentences += third == 0x81 or third == 0x9F  # ！ ？
            commas += third == 0x8C
        elif byte == 32 or byte == 10:
            spaces += 1
        elif byte == 46 or byte == 33 or byte == 63:
            sentences += place + 1 == end or text[place + 1] == 32 or text[place + 1] == 10
        elif byte == 44 or byte == 59:
            commas += 1
        elif 48 <= byte <= 57:
            digits += 1
        elif 65 <= byte <= 90:
            capitals += 1
        elif byte == 124 or byte == 47 or byte == 35 or byte == 64 or byte == 62:
            marks += 1  # | / # @ >
        elif byte == 0xC2 and (text[place + 1] == 0xA9 or text[place + 1] == 0xBB):
            marks += 3  # © »
    characters = max(characters, 1)  # of bytes that begin no character
    words = spaces + 1 + wide // 2
    last = text[end - 1]
    element = block[ELEMENT]
    found[0] = np.log1p(characters)
    found[1] = np.log1p(words)
    found[2] = sentences
    found[3] = commas / words
    found[4] = digits / characters
    found[5] = capitals / characters
    found[6] = min(1.0, block[LINK_BYTES] / (end - begin))
    found[7] = min(block[LINKS], 20)
    found[8] = min(block[BREAKS], 20)
    closing = last == 46 or last == 33 or last == 63 or last == 34 or last == 0x9D or last == 0x82
    found[9] = 2 if closing else (1 if last == 58 or last == 0xA6 else 0)
    found[10] = characters / words
    found[11] = min(marks, 20)
    found[12] = _kind_of(element, elements)
    found[13] = min(elements[element, DEPTH], 60)
    found[14] = block[ITEM] > 0
    found[15] = block[ROW] > 0
    return value


@numba.njit(nogil=True, cache=True)
def _kind_of(element: Integer, elements: Array) -> float:
    # Of the nearest element that has a kind, as text in <p><span> is a paragraph.
    for _ in range(4):
        kind = _KINDS[elements[element, TAG_CODE]]
        if kind != 3 and kind != 12:
            return float(kind)
        element = elements[element, PARENT]
    return 3.0


@numba.njit(nogil=True, cache=True)
def _count_occurrences(hashes: Array, features: Array) -> None:
    order = np.argsort(hashes)
    begin = 0
    for place in range(1, len(order) + 1):
        if place == len(order) or hashes[order[place]] != hashes[order[begin]]:
            for each in range(begin, place):
                features[order[each], 16] = min(place - begin, 20)
            begin = place


@numba.njit(nogil=True, cache=True)
def _fill_distances(blocks: Array, elements: Array, parts: Array, features: Array) -> None:
    groups = features.shape[1] - _GROUPS
    for row in range(len(blocks)):
        for group in range(groups):
            features[row, _GROUPS + group] = NONE
        element = np.int64(blocks[row, ELEMENT])
        seen = np.uint64(0)
        level = 0
        while element > 0 and level < NONE:
            fresh = parts[element] & ~seen
            if fresh:
                for group in range(groups):
                    if fresh >> np.uint64(group) & np.uint64(1):
                        features[row, _GROUPS + group] = level
                seen |= fresh
            element = np.int64(elements[element, PARENT])
            level += 1


@numba.njit(nogil=True, cache=True)
def _fill_around(blocks: Array, elements: Array, features: Array) -> None:
    count = len(blocks)
    size = len(elements)
    holds = np.zeros(size)  # blocks right under an element, its inline children included
    prose = np.zeros(size)
    linked = np.zeros(size)
    whole = np.zeros(size)
    score = np.zeros(size)
    total = prose_total = article = main = 0.0
    for row in range(count):
        length = np.float64(blocks[row, END] - blocks[row, BEGIN])
        plain = max(0.0, length - blocks[row, LINK_BYTES])
        is_prose = plain >= _PROSE_CHARACTERS and features[row, 6] < 0.4
        total += length
        if is_prose:
            prose_total += plain
        if features[row, _GROUPS + _IN_ARTICLE] < NONE:
            article += length
        if features[row, _GROUPS + _IN_MAIN] < NONE:
            main += length
        first = np.int64(elements[blocks[row, ELEMENT], PARENT])
        second = np.int64(elements[first, PARENT])
        for element in (first, second):
            holds[element] += 1
            whole[element] += length
            linked[element] += blocks[row, LINK_BYTES]
            if is_prose:
                prose[element] += plain
        if is_prose:
            element = first
            weight = 1.0
            for _ in range(3):
                score[element] += weight * (plain + 50.0 * features[row, 3])
                element = np.int64(elements[element, PARENT])
                weight *= 0.5
    best: Integer = np.int64(0)
    for each in range(1, size):
        if score[each] > score[best]:
            best = np.int64(each)
    inside = np.zeros(size, np.bool_)  # within the best element; parents come before children
    above = np.full(size, NONE)  # levels from the best element up to this ancestor of it
    inside[best] = True
    holder: Integer = best
    level = 0
    while True:
        above[holder] = level
        if holder == 0:
            break
        holder = np.int64(elements[holder, PARENT])
        level += 1
    best_bytes = 0.0
    for each in range(1, size):
        inside[each] |= inside[elements[each, PARENT]] and each > best
    for row in range(count):
        if inside[blocks[row, ELEMENT]]:
            best_bytes += blocks[row, END] - blocks[row, BEGIN]
    before = 0.0
    heading = -1
    for row in range(count):
        length = np.float64(blocks[row, END] - blocks[row, BEGIN])
        found = features[row]
        if elements[blocks[row, ELEMENT], TAG_CODE] == _H1 or found[12] == 0:
            heading = row
        element = np.int64(blocks[row, ELEMENT])
        first = np.int64(elements[element, PARENT])
        second = np.int64(elements[first, PARENT])
        found[_AROUND] = row / count
        found[_AROUND + 1] = before / total
        found[_AROUND + 2] = min(row - heading, 100) if heading >= 0 else -1
        found[_AROUND + 3] = min(holds[first], 100)
        found[_AROUND + 4] = np.log1p(prose[first])
        found[_AROUND + 5] = linked[first] / max(whole[first], 1.0)
        found[_AROUND + 6] = min(holds[second], 100)
        found[_AROUND + 7] = np.log1p(prose[second])
        found[_AROUND + 8] = linked[second] / max(whole[second], 1.0)
        while above[element] == NONE and element > 0:
            element = np.int64(elements[element, PARENT])
        found[_AROUND + 9] = min(above[element], NONE)
        found[_AROUND + 10] = inside[blocks[row, ELEMENT]]
        found[_AROUND + 11] = max(score[first], score[second]) / max(score[best], 1.0)
        near_prose = near_links = near = 0.0
        for other in range(max(0, row - _NEARBY), min(count, row + _NEARBY + 1)):
            if other != row:
                size_there = np.float64(blocks[other, END] - blocks[other, BEGIN])
                near += size_there
                near_links += blocks[other, LINK_BYTES]
                if size_there >= _PROSE_CHARACTERS:
                    near_prose += size_there - min(size_there, blocks[other, LINK_BYTES])
        found[_AROUND + 12] = np.log1p(near_prose)
        found[_AROUND + 13] = near_links / max(near, 1.0)
        found[_PAGE] = np.log1p(count)
        found[_PAGE + 1] = np.log1p(total)
        found[_PAGE + 2] = prose_total / total
        found[_PAGE + 3] = article / total
        found[_PAGE + 4] = main / total
        found[_PAGE + 5] = best_bytes / total
        before += length


@numba.njit(nogil=True, cache=True)
def _fill_neighbours(blocks: Array, elements: Array, features: Array) -> None:
    count = len(blocks)
    for row in range(count):
        column = _NEIGHBOURS
        for offset in _NEIGHBOUR_PLACES:
            other = row + offset
            if 0 <= other < count:
                features[row, column] = features[other, 0]
                features[row, column + 1] = features[other, 6]
                features[row, column + 2] = min(features[other, 2], 5)
                features[row, column + 3] = features[other, 12]
                features[row, column + 4] = _levels_apart(
                    np.int64(blocks[row, ELEMENT]), np.int64(blocks[other, ELEMENT]), elements
                )
            else:
                features[row, column] = -1
                features[row, column + 3] = -1
                features[row, column + 4] = NONE
            column += 5


@numba.njit(nogil=True, cache=True)
def _levels_apart(one: Integer, other: Integer, elements: Array) -> float:
    # Levels up from one element to the nearest that holds the other too.
    left, right = one, other
    levels = 0
    while left != right and levels < NONE:
        if elements[left, DEPTH] >= elements[right, DEPTH]:
            left = np.int64(elements[left, PARENT])
            levels += 1
        else:
            right = np.int64(elements[right, PARENT])
    return float(levels)
