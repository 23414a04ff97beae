"""An answer's text while its tokens arrive: never half a character, never part of a stop string.

What a piece shows can not be taken back. So a piece ends before bytes that are no whole character
yet, and before the longest ending that may still become a stop string.
"""

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"  # what a decoder makes of the beginning of a character
MOST_UNFINISHED_TOKENS = 4  # a character has at most four bytes: longer, and it will never be one


class AnswerStream:
    """Feed it token ids; each call gives the text that is certain now. `stopped` tells whether a
    stop string came: it and what follows are never shown."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = [text for text in stop if text]
        self._pending: list[int] = []  # ids whose text is not certain
        self._held = ""  # text that may begin a stop string
        self.text = ""  # all that was shown
        self.stopped = False

    def feed(self, token: int) -> str:
        """The text that this token makes certain; "" where there is none yet."""
        if self.stopped:
            return ""
        self._pending.append(token)
        decoded = self._decode(self._pending)
        if decoded.endswith(UNFINISHED) and len(self._pending) < MOST_UNFINISHED_TOKENS:
            return ""
        self._pending = []
        return self._show(self._held + decoded, last=False)

    @property
    def is_whole(self) -> bool:
        """Whether the next token begins a text of its own: none before it waits to be decoded."""
        return not self._pending

    def finish(self) -> str:
        """The rest, when no more tokens come."""
        if self.stopped:
            return ""
        rest = self._held + self._decode(self._pending) if self._pending else self._held
        self._pending = []
        return self._show(rest, last=True)

    def _show(self, text: str, *, last: bool) -> str:
        found = [place for each in self._stop if (place := text.find(each)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            shown = text[: min(found)]
        else:
            held = 0 if last else self._may_begin(text)
            shown = text[: len(text) - held]
            self._held = text[len(text) - held :]
        self.text += shown
        return shown

    def _may_begin(self, text: str) -> int:
        """Characters at the end of the text that a stop string may begin with."""
        longest = 0
        for each in self._stop:
            for length in range(min(len(each) - 1, len(text)), longest, -1):
                if text.endswith(each[:length]):
                    longest = length
                    break
        return longest
