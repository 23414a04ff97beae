"""Where a JSON value holds half of a character: a lone surrogate, which an escape can write.

No tokenizer reads such a text and no UTF-8 holds it, so it is refused where it comes in.
"""

import re

SURROGATE = re.compile("[\ud800-\udfff]")  # pairs are one character by now; what is left is alone
HALF_CHARACTER = "half of a character"
REMEDY = r"Send whole characters: an escape such as \ud800 needs its other half."


def half_character(value: object) -> str | None:
    """The first place that holds one, as `messages[0].content`; None where there is none.

    A name of an object counts as its own place, "" is the value itself.
    """
    pending = [("", value)]  # a list and no recursion: JSON nests deeper than Python calls
    while pending:
        where, each = pending.pop()
        if isinstance(each, str) and SURROGATE.search(each):
            return where
        inside: list[tuple[str, object]] = []
        if isinstance(each, dict):
            for name, item in each.items():
                shown = name.encode("utf-8", "backslashreplace").decode()
                place = f"{where}.{shown}" if where else shown
                inside += [(place, name), (place, item)]
        elif isinstance(each, list):
            inside = [(f"{where}[{place}]", item) for place, item in enumerate(each)]
        pending += reversed(inside)
    return None
