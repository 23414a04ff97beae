"""All the text of a piece of HTML that is text throughout: a post, a chapter of a book.

Unlike a page of the web (text.main_text) it has no menus to be told from what it says. One line per
paragraph, heading, list item and row of a table, as main_text writes them; code keeps its lines and
stands between fences.
"""

from typing import Any, NamedTuple

from volano.collect.readers.wikitext import fenced

MAX_MEDIA = 100  # pictures of one piece
DROPPED = frozenset({"script", "style", "head", "template", "noscript", "svg", "math", "iframe"})
BLOCKS = frozenset(
    {
        "p", "div", "ul", "ol", "dl", "dt", "dd", "li", "table", "tr", "blockquote", "section",
        "article", "header", "footer", "aside", "nav", "figure", "figcaption", "hr", "h1", "h2",
        "h3", "h4", "h5", "h6", "br", "caption", "details", "summary", "address", "body",
    }
)  # fmt: skip
CELLS = frozenset({"td", "th"})


class Markup(NamedTuple):
    """What a piece of HTML says, and the addresses of the pictures in it."""

    text: str
    media: list[str]


def html_text(html: str) -> Markup:
    """The text of a piece of HTML, however broken; pictures are named, not read."""
    from resiliparse.parse.html import HTMLTree, traverse_dom

    writer = _Writer()
    body = HTMLTree.parse(html.replace("\0", "")).body
    if body is not None:
        traverse_dom(body, writer.begin, writer.end)
    writer.break_line()
    return Markup("\n".join(writer.lines), writer.media[:MAX_MEDIA])


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.media: list[str] = []
        self._line: list[str] = []
        self._code: list[str] | None = None  # the content of the <pre> that we are in
        self._language = ""
        self._dropped = 0  # elements around us whose content is not text
        self._item = self._cell = False

    def begin(self, context: Any) -> None:
        node = context.node
        name = node.tag.lower() if node.tag else ""
        if name == "#text":
            if not self._dropped:
                (self._line if self._code is None else self._code).append(node.value or "")
            return
        if name in DROPPED:
            self._dropped += 1
        if self._dropped:
            return
        if self._code is not None:
            if name == "br":
                self._code.append("\n")
            elif name == "code":
                self._language = self._language or _language(node)
        elif name == "pre":
            self.break_line()
            self._code, self._language = [], _language(node)
        elif name == "code":
            self._line.append("`")
        elif name == "img":
            source = node.getattr("src") or ""
            if source and not source.startswith("data:"):
                self.media.append(source)
        elif name in CELLS:
            if self._cell:
                self._line.append(" | ")
            self._cell = True
        elif name in BLOCKS:
            self.break_line()
            self._item = self._item or name == "li"

    def end(self, context: Any) -> None:
        node = context.node
        name = node.tag.lower() if node.tag else ""
        if name in DROPPED:
            self._dropped -= 1
        if self._dropped or name in DROPPED:
            return
        if self._code is not None:
            if name == "pre":
                code = "".join(self._code).strip("\n")
                self._code = None
                if code.strip():
                    self.lines.append(fenced(code, self._language))
        elif name == "code":
            self._line.append("`")
        elif name in BLOCKS and name != "br":
            self.break_line()
            if name == "li":
                self._item = False

    def break_line(self) -> None:
        text = " ".join("".join(self._line).replace("``", "").split())
        if text:
            self.lines.append(f"- {text}" if self._item else text)
            self._item = False
        self._line, self._cell = [], False


def _language(node: Any) -> str:
    # <pre class="lang-py s-code-block">, <code class="language-python">
    for name in (node.getattr("class") or "").split():
        for prefix in ("lang-", "language-"):
            language: str = name.removeprefix(prefix)
            if language != name and language.isalnum() and language not in {"none", "default"}:
                return language
    return ""
