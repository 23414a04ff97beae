"""The first sentence of a docstring, as a person would say it.

It is the answer that fine-tuning teaches and evaluation expects, so the markup of four
documentation systems (reST roles, Markdown, Epytext, Sphinx links) is taken out of it.
"""

import re

from volano.text.functions import sentences

MIN_SUMMARY_WORDS = 5  # below it, little can be told from the name
MIN_LETTER_FRACTION = 0.85  # of the characters that are no spaces; formulas and tables lie below
MIN_DOCUMENTATION_CHARACTERS = 60

MAX_OPENING_CALLS = 4  # one for each way to call it

_ROLE = re.compile(r":[a-zA-Z][\w:+.-]*:`([^`]*)`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}")
_MARKDOWN_LINK = re.compile(r"\[([^\]\[]+)\]\([^)\s]*\)")
_MARKDOWN_CODE = re.compile(r"\[`+([^`\]]+)`+\](?!\()")
_QUOTED = re.compile(r"`+([^`]*?)`+_{0,2}")
_STRONG = re.compile(r"(?<![\w*])(\*{1,2})([^*\s](?:[^*]*[^*\s])?)\1(?![\w*])")
# A directive and what is indented below it, or the rule under a title.
_DIRECTIVE = re.compile(r"^\.\. [\w:-]+::.*(?:\n[ \t]*\n?[ \t]+\S.*)*|^[=\-~^#]{3,}$", re.MULTILINE)
_FIELD = re.compile(
    r"^\s*(?::\w+[^:\n]*:|@\w+|Args:|Parameters\b|Returns?:|Raises:|>>> )", re.MULTILINE
)
_CALL = re.compile(r"^[\w.]*\w\s*\(.*\)\s*(?:->.*)?$", re.DOTALL)


def split_call(docstring: str) -> tuple[str, str]:
    """The call with which a docstring opens ("abs(input, *, out=None) -> Tensor"), on one line, and
    the rest; "" and the docstring where it opens with none."""
    call, rest = "", docstring.strip()
    for _ in range(MAX_OPENING_CALLS):
        paragraph = _first_paragraph(rest)
        # It may stand above the text with no blank line between, or run over several lines; "--"
        # ends the one from which CPython reads a signature.
        for opening in (paragraph.partition("\n")[0], paragraph.removesuffix("\n--"), ""):
            if _CALL.match(opening):
                break
        if not opening:
            break
        call = call or " ".join(opening.split())
        rest = rest[len(opening) :].strip().removeprefix("--\n").strip()
    return call, rest


def summary_of(docstring: str) -> str:
    """The first sentence on one line, without markup; "" where there is no sentence.

    Directives are passed over; a list of parameters ends the search.
    """
    paragraph = _first_paragraph(_DIRECTIVE.sub("", docstring))
    field = _FIELD.search(paragraph)
    if field:
        paragraph = paragraph[: field.start()]
    found = sentences(plain(paragraph))
    return found[0] if found else ""


def plain(text: str) -> str:
    """The text without markup, words and punctuation untouched."""
    text = _ROLE.sub(lambda role: _target(role[1]), text)
    text = _LINK.sub(r"\1", text)
    text = _MARKDOWN_CODE.sub(lambda code: _target(code[1]), text)
    text = _MARKDOWN_LINK.sub(r"\1", text)
    text = _QUOTED.sub(r"\1", text)
    return _STRONG.sub(r"\2", text)


def is_proper_sentence(summary: str) -> bool:
    """At least five words, nearly all letters, begun by a capital and ended by a full stop."""
    dense = summary.replace(" ", "")
    return (
        len(summary.split()) >= MIN_SUMMARY_WORDS
        and summary[0].isupper()
        and summary.endswith(".")
        and summary.isascii()
        and sum(map(str.isalpha, dense)) >= MIN_LETTER_FRACTION * len(dense)
    )


def _first_paragraph(text: str) -> str:
    return re.split(r"\n[ \t]*\n", text.strip(), maxsplit=1)[0]


def _target(role: str) -> str:
    # :class:`text <target>` shows its text; :class:`~a.b.C` shows C
    shown = re.sub(r"\s*<[^>]*>$", "", role)
    return shown.rpartition(".")[2] if shown.startswith("~") else shown.lstrip("!")
