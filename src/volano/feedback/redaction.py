"""Personal data leaves a text before the text leaves the database.

What is found is what text.pii finds without being asked for more: names and postal addresses are
not.
"""

import hashlib
import re
from typing import Any

from volano.text.pii import find_spans, redact

PSEUDONYM_CHARACTERS = 16
PSEUDONYM = re.compile(f"[0-9a-f]{{{PSEUDONYM_CHARACTERS}}}")
# Begins a pseudonym that came in with an export: an application's own id may look like one.
MARK = "pseudonym:"


class Redaction:
    """Takes personal data out of texts; `spans` counts what it took."""

    def __init__(self) -> None:
        self.spans = 0
        self._known: dict[str, tuple[str, int]] = {}  # most texts of an event are those of others

    def text(self, text: str) -> str:
        """The text with a typed tag such as <EMAIL> for each piece of personal data."""
        if text not in self._known:
            self._known[text] = _redacted(text)
        redacted, spans = self._known[text]
        self.spans += spans
        return redacted

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it redacted, the keys of objects included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(each) for key, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list | tuple) else value


def _redacted(text: str) -> tuple[str, int]:
    spans = 0
    while found := find_spans(text, conversation=True):  # one may have hidden its neighbour
        spans += len(found)
        text = redact(text, found)
    return text, spans


def pseudonym(who: str) -> str:
    """What stands for a person outside the database: applications may have sent a name. The same
    in every database, so what came in as a pseudonym is not hashed once more."""
    if who.startswith(MARK) and PSEUDONYM.fullmatch(who.removeprefix(MARK)):
        return who.removeprefix(MARK)
    return hashlib.sha256(who.encode("utf-8", "replace")).hexdigest()[:PSEUDONYM_CHARACTERS]


def marked(who: str) -> str:
    """A name from one of our exports, marked where it is a pseudonym."""
    return f"{MARK}{who}" if PSEUDONYM.fullmatch(who) else who
