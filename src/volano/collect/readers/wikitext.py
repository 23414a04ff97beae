"""The text of a page of MediaWiki, without the markup around it.

What goes: templates, tables, references, comments, files and categories. What stays: headings and
list items as lines of their own, the words of links, formulas between $ signs, code between fences.
Of the few templates that stand for words inside a sentence ({{convert|5|km}}), the words stay; to
expand the others takes a whole wiki.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

MAX_MEDIA = 100  # files named by one page
DROPPED_TAGS = frozenset(
    {
        "ref", "references", "table", "gallery", "imagemap", "timeline", "score", "graph", "style",
        "script", "templatestyles", "mapframe", "maplink", "section", "noinclude", "inputbox",
        "ce", "chem", "hiero",
    }
)  # fmt: skip
# Which unnamed arguments of a template are its words, counted from 0.
WORD_TEMPLATES = {
    "lang": (1,), "transl": (-1,), "transliteration": (-1,), "nowrap": (0,), "nobr": (0,),
    "small": (0,), "nihongo": (0,), "convert": (0, 1), "cvt": (0, 1), "val": (0,), "frac": (0,),
}  # fmt: skip
CODE_TAGS = frozenset({"syntaxhighlight", "source", "pre"})
_ITEM, _HEADING = "\ue000", "\ue001"  # private characters, taken out of what is read
_MARKS = re.compile("[\ue000-\ue00f]")
# References and comments go before the parser sees them: they are half of a page, and slow. Not so
# inside what is verbatim, which is matched first and stays.
_UNREAD = re.compile(
    r"(<(nowiki|pre|syntaxhighlight|source|math)\b[^<>]*>.*?</\2\s*>)"
    r"|<!--.*?-->|<ref\b[^<>]*/>|<ref\b[^<>]*>.*?</ref\s*>",
    re.DOTALL | re.IGNORECASE,
)
_LANGUAGE_LINK = re.compile(r":?[a-z]{2,3}(?:-[a-z]+)*$")
_MAGIC_WORD = re.compile(r"__[A-Z]{4,}__")
_QUOTES = re.compile(r"'{2,}")
_EMPTY_BRACKETS = re.compile(r" ?\((?:[\s,;:]|&nbsp;)*\)")
_OPENING_COMMA = re.compile(r"\(\s*[,;]\s*")
_SPACES = re.compile(r"[ \t\xa0]+")
_ITEM_START = re.compile(f"(?:{_ITEM})+ *")


class Stripped(NamedTuple):
    """The text of a page, one line per paragraph, heading and list item, and the files it shows."""

    text: str
    media: list[str]


def strip_wikitext(
    wikitext: str, file_names: Collection[str], category_names: Collection[str]
) -> Stripped:
    """The text of a page. The names are those of the wiki's own namespaces in lower case, such as
    "file", "image", "datei"; they tell a picture or a category from other links."""
    import mwparserfromhell

    read = _UNREAD.sub(lambda found: found[1] or "", _MARKS.sub("", wikitext))
    code = mwparserfromhell.parse(read, skip_style_tags=True)
    stripper = _Stripper(frozenset(file_names), frozenset(category_names))
    stripper.add(code.nodes)
    return Stripped(_tidy("".join(stripper.pieces), stripper.codes), stripper.media[:MAX_MEDIA])


class _Stripper:
    def __init__(self, file_names: frozenset[str], category_names: frozenset[str]) -> None:
        self.pieces: list[str] = []
        self.codes: list[str] = []  # verbatim; a mark holds the place of each until all is tidy
        self.media: list[str] = []
        self.file_names, self.category_names = file_names, category_names

    def add(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            kind = type(node).__name__
            if kind == "Text":
                self.pieces.append(node.value)
            elif kind == "Wikilink":
                self._link(node)
            elif kind == "Tag":
                self._tag(node)
            elif kind == "Template":
                self._template(node)
            elif kind == "Heading":
                self.pieces.append(f"\n{_HEADING}{node.level}")
                self.add(node.title.nodes)
                self.pieces.append("\n")
            elif kind == "ExternalLink":
                if node.title is not None:
                    self.add(node.title.nodes)
                elif not node.brackets:
                    self.pieces.append(str(node.url))
            elif kind == "HTMLEntity":
                self.pieces.append(_character(node))

    def _link(self, node: Any) -> None:
        target = str(node.title).strip()
        prefix, colon, name = target.partition(":")
        space = prefix.strip().lower().replace("_", " ")
        if colon and space in self.file_names:
            self.media.append(name.strip())
        elif colon and (space in self.category_names or (node.text is None and _foreign(prefix))):
            return
        elif node.text is not None:
            self.add(node.text.nodes)
        else:
            self.pieces.append(target.removeprefix(":"))

    def _template(self, node: Any) -> None:
        name = str(node.name).strip().lower()
        chosen = (0,) if name.startswith("lang-") else WORD_TEMPLATES.get(name, ())
        words = [each.value for each in node.params if not each.showkey]
        for place, number in enumerate(chosen):
            if number < len(words):
                self.pieces.append(" " if place else "")
                self.add(words[number].nodes)

    def _tag(self, node: Any) -> None:
        tag = str(node.tag).strip().lower()
        if tag in DROPPED_TAGS:
            return
        if tag == "li":
            self.pieces.append(_ITEM)
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in CODE_TAGS:
            content = "" if node.contents is None else str(node.contents).strip("\n")
            language = "" if tag == "pre" else _attribute(node, "lang")
            self.pieces.append(f"\n\ue002{len(self.codes)}\n")
            self.codes.append(fenced(content, language))
        elif tag == "math":
            formula = " ".join(str(node.contents or "").split())
            self.pieces.append(f"${formula}$" if formula else "")
        elif node.contents is not None:
            block = tag in {"p", "div", "blockquote", "poem", "center"}
            self.pieces.append("\n" if block else "")
            self.add(node.contents.nodes)
            self.pieces.append("\n" if block else "")


def fenced(code: str, language: str = "") -> str:
    """Code between fences longer than any that it holds itself."""
    longest = max((len(found) for found in re.findall(r"^`{3,}", code, re.MULTILINE)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _tidy(text: str, codes: list[str]) -> str:
    text = _QUOTES.sub("", _MAGIC_WORD.sub("", text))
    text = _OPENING_COMMA.sub("(", _EMPTY_BRACKETS.sub("", text))
    lines: list[str] = []
    headings: list[int] = []  # level of each line; 0 for one that is no heading
    for raw in text.split("\n"):
        line = _SPACES.sub(" ", raw).strip()
        level = 0
        if line.startswith(_HEADING):
            level, line = int(line[1]), line[2:].strip()
        elif line.startswith("\ue002"):
            line = codes[int(line[1:])]
        elif line.startswith(_ITEM):
            line = _ITEM_START.sub("", line)
            line = f"- {line}" if line else ""
        line = _MARKS.sub("", line) if not line.startswith("`") else line
        if not line:
            continue
        while level and headings and headings[-1] >= level:  # nothing stands below that one
            headings.pop()
            lines.pop()
        lines.append(line)
        headings.append(level)
    while headings and headings[-1]:
        headings.pop()
        lines.pop()
    return "\n".join(lines)


def _foreign(prefix: str) -> bool:
    return bool(_LANGUAGE_LINK.match(prefix.strip()))


def _attribute(node: Any, name: str) -> str:
    if not node.has(name):
        return ""
    value = str(node.get(name).value).strip()
    return value if re.fullmatch(r"[\w+#.-]{1,30}", value) else ""


def _character(node: Any) -> str:
    try:
        found: str = node.normalize()
    except (ValueError, OverflowError):  # a number beyond Unicode
        return ""
    return "" if "\ud800" <= found <= "\udfff" or found == "\0" or _MARKS.match(found) else found
