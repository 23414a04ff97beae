"""Where in an answer's text each of its tokens begins.

Counted in bytes and not by decoding each token: one character may be spelt by several.
"""

import codecs

from volano.text.tokenizer import Tokenizer


class TokenPlaces:
    """Feed it the tokens that an AnswerStream is fed, and tell it when that one is whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def feed(self, token: int) -> int | None:
        """The place of the first character that the token makes, or helps to make; None where it
        makes no text, as special tokens do."""
        if not self._tokenizer.decode([token]):
            return None
        place, bytes_ = self._characters, self._tokenizer.bytes_of(token)
        begun = bool(self._decoder.getstate()[0])
        made = self._decode(bytes_[:1])
        # A byte that does not go on with the character begun makes U+FFFD of it, and stands behind.
        if begun and made > (0 if self._decoder.getstate()[0] else 1):
            place += 1
        self._characters += made + self._decode(bytes_[1:])
        return place

    def end_text(self) -> None:
        """Bytes that are no whole character yet stay none."""
        self._characters += len(self._decoder.decode(b"", final=True))
        self._decoder.reset()

    def _decode(self, bytes_: bytes) -> int:
        """How many characters are certain now. Half a surrogate never becomes one, though Python
        waits for its third byte, for the sake of "surrogatepass"."""
        made = len(self._decoder.decode(bytes_))
        begun = self._decoder.getstate()[0]
        if begun[:1] == b"\xed" and begun[1:] >= b"\xa0":
            made += len(self._decoder.decode(b"", final=True))
            self._decoder.reset()
        return made
