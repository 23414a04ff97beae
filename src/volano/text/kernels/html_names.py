"""What the names in a page mean: its tags, the words of its classes, its character references.

Looked up by hash in small tables, so that the scan of a page stays in compiled code. Which words
tell content from the frame around it is web practice: what designers call these parts.
"""

import functools
import html.entities
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME

Array = npt.NDArray[Any]

# ---- tags: a code each, from 1 on, in this order

_TAGS = (
    "p div span a li ul ol dl dt dd h1 h2 h3 h4 h5 h6 br hr img input meta link area base col "
    "embed param source track wbr table thead tbody tfoot tr td th caption article main section "
    "nav aside header footer form figure figcaption blockquote pre code body html head title "
    "script style noscript template svg iframe object select textarea xmp noembed noframes "
    "canvas audio video math button address fieldset details summary dialog option center hgroup "
    "b i em strong u small sub sup font label time abbr cite q ins del s mark tt kbd samp var big"
)
TAGS = tuple(_TAGS.split())
TAG = {name: code for code, name in enumerate(TAGS, start=1)}
VOID = "br hr img input meta link area base col embed param source track wbr"
RAW = "script style title textarea iframe xmp noembed noframes"  # no tags inside
SKIPPED = (
    "head script style noscript template svg iframe object select textarea xmp noembed noframes "
    "canvas audio video math button"
)
INLINE = (
    "a span b i em strong u small sub sup font label time abbr cite q ins del s mark tt kbd samp "
    "var big code button img input wbr select textarea script style noscript template svg math "
    "iframe object canvas audio video"
)
CLOSES_PARAGRAPH = (
    "p div li ul ol dl dt dd h1 h2 h3 h4 h5 h6 hr table article main section nav aside header "
    "footer form figure figcaption blockquote pre address fieldset details center hgroup dialog"
)
IS_VOID, IS_RAW, IS_SKIPPED, IS_INLINE, ENDS_PARAGRAPH = 1, 2, 4, 8, 16


@functools.cache
def tag_traits() -> Array:
    """A sum of the traits above per tag code; 0 for tags that are not known, and inline too."""
    traits = np.zeros(len(TAGS) + 1, np.uint8)
    traits[0] = IS_INLINE  # as browsers do: an unknown element breaks no line
    for trait, names in (
        (IS_VOID, VOID),
        (IS_RAW, RAW),
        (IS_SKIPPED, SKIPPED),
        (IS_INLINE, INLINE),
        (ENDS_PARAGRAPH, CLOSES_PARAGRAPH),
    ):
        for name in names.split():
            traits[TAG[name]] |= trait
    traits.flags.writeable = False
    return traits


# ---- what an element is for: a bit each, from its tag or from a word of its class, id or role

PARTS: dict[str, str] = {
    "content": "content contents entry article articles articlebody body story hentry prose text "
    "textbody inhalt contenu contenido beitrag artikel copy",
    "main": "main maincontent primary page single center mid middle hauptinhalt",
    "post": "post posts blog blogpost news beitrag entrycontent",
    "navigation": "nav navi navigation navbar menu menus submenu breadcrumb breadcrumbs crumb "
    "topbar toolbar tabs skip toc sitemap pager pagination paging pagenav prev next previous",
    "share": "share sharing shares social follow facebook twitter whatsapp pinterest linkedin "
    "addthis addtoany sharedaddy like likes tweet",
    "comment": "comment comments commentlist kommentar kommentare commentaire reply replies "
    "respond disqus discussion feedback rating ratings review",
    "side": "sidebar side aside widget widgets rail column right left module",
    "related": "related recommended recommend more popular trending teaser teasers promo also "
    "similar latest recent most readmore outbrain taboola latestnews suggestions upnext archive "
    "carousel slider list listing grid card cards",
    "footer": "footer foot colophon copyright legal imprint impressum bottom disclaimer",
    "header": "header masthead banner top logo site branding hero head kopf",
    "advertisement": "ad ads adv advert advertisement advertising sponsor sponsored sponsors "
    "werbung anzeige dfp adsense publicidad commercial affiliate",
    "about": "meta author authors byline bio date time datum tag tags category categories posted "
    "info infos published byauthor autor details kicker dateline label labels",
    "form": "newsletter subscribe subscription signup login register search form cookie cookies "
    "consent popup modal overlay paywall gdpr privacy alert notice message warning dialog",
    "caption": "caption captions figure figcaption gallery slideshow image images img photo foto "
    "bild picture video media credit credits thumb thumbnail embed player",
    "title": "title headline heading subtitle subheadline titel lead intro summary excerpt "
    "description abstract standfirst deck",
    "hidden": "hidden hide invisible noprint screenreader offscreen visuallyhidden",
}
# Parts that a tag says, beside those of its class.
OF_TAG: dict[str, str] = {
    "in_article": "article",
    "in_main": "main",
    "in_section": "section",
    "in_navigation": "nav",
    "in_aside": "aside",
    "in_header": "header",
    "in_footer": "footer",
    "in_form": "form fieldset",
    "in_figure": "figure figcaption",
    "in_table": "table",
    "in_list": "ul ol dl",
    "in_link": "a",
    "in_quotation": "blockquote",
    "in_code": "pre code",
    "in_heading": "h1 h2 h3 h4 h5 h6",
}
BODY_PROPERTY = "body_property"  # itemprop="articleBody" and the like
GROUPS = (*PARTS, *OF_TAG, BODY_PROPERTY)
BIT = {name: np.uint64(1 << place) for place, name in enumerate(GROUPS)}
_PREFIXES = 5  # letters from which on a word also counts at the beginning of a longer one


class Names(NamedTuple):
    """All tables of the scan. Rows of `table`: hash, value, length."""

    tags: Array
    traits: Array
    parts: Array
    parts_of_tag: Array
    entities: Array
    entity_bytes: Array


@functools.cache
def names() -> Names:
    """The tables, made once."""
    tags = _table([(name, TAG[name]) for name in TAGS])
    words: dict[str, int] = {}
    for group, listed in PARTS.items():
        for word in listed.split():
            words[word] = words.get(word, 0) | int(BIT[group])
    for word in ("articlebody", "mainentityofpage", "articletext", "storybody"):
        words[word] = words.get(word, 0) | int(BIT[BODY_PROPERTY])
    of_tag = np.zeros(len(TAGS) + 1, np.uint64)
    for group, listed in OF_TAG.items():
        for name in listed.split():
            of_tag[TAG[name]] |= BIT[group]
    pieces: list[bytes] = []
    references: list[tuple[str, int]] = []
    for name, text in html.entities.html5.items():
        if name.endswith(";"):
            utf8 = text.encode()
            references.append((name[:-1], sum(len(piece) for piece in pieces) << 8 | len(utf8)))
            pieces.append(utf8)
    found = Names(
        tags,
        tag_traits(),
        _table(list(words.items())),
        of_tag,
        _table(references),
        np.frombuffer(b"".join(pieces), np.uint8),
    )
    for array in found:
        array.flags.writeable = False
    return found


def _table(entries: list[tuple[str, int]]) -> Array:
    size = 1 << (len(entries) * 3).bit_length()
    table = np.zeros((size, 2), np.uint64)
    for name, value in entries:
        key = hash_of(name)
        place = int(key) & (size - 1)
        while table[place, 0]:
            if table[place, 0] == key:
                raise AssertionError(f"two names share the hash of '{name}'")
            place = (place + 1) & (size - 1)
        table[place, 0], table[place, 1] = key, value
    return table


def hash_of(name: str) -> np.uint64:
    """FNV-1a of the bytes of a name."""
    value = int(FNV_OFFSET)
    for byte in name.encode():
        value = (value ^ byte) * int(FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(value)


@numba.njit(nogil=True, cache=True, inline="always")
def look_up(table: Array, key: np.uint64) -> np.uint64:
    """The value of a hash; 0 if there is none."""
    mask = len(table) - 1
    place = np.int64(key) & mask
    while table[place, 0] != 0:
        if table[place, 0] == key:
            return np.uint64(table[place, 1])
        place = (place + 1) & mask
    return np.uint64(0)
