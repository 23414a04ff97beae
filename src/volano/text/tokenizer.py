"""Text to token ids and back: byte-level BPE that knows how names in code are built.

`read_csv` falls into `read` and `_csv`, `readCsv` into `read` and `Csv`, and each digit stands
alone, so a small vocabulary spends its merges on words that recur and not on identifiers that do
not. The file format is that of Hugging Face, which every server reads.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from volano.core.errors import DataError
from volano.core.files import atomic_path, json_digest, write_json
from volano.text.chat import CHAT_TEMPLATE, END_OF_TEXT, OUR_CHAT, SPECIAL_TOKENS
from volano.text.chat_format import ChatFormat, learn_format

TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
NAMES_FILE = "special_tokens_map.json"  # older checkpoints name theirs here alone
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")
TEMPLATE_FILE = "chat_template.jinja"  # where transformers 5 keeps it
DECIDE_IDS = ("added_tokens", "normalizer", "pre_tokenizer", "model")  # of tokenizer.json
BYTES = 256
SPACE, FALLBACK_BYTE = "\u2581", re.compile(r"<0x([0-9A-F]{2})>")  # as sentencepiece spells them
# What begins and ends a text in the models that load here; the config's own bos and eos may name
# the marks of a chat instead (SmolLM2-Instruct).
BEGINS = ("<s>", "<|begin_of_text|>")
ENDS = ("<|end_of_text|>", "</s>", END_OF_TEXT)  # its own first: ours may have been added to it

# What a token may span, in order of preference. A word takes a space or underscores before it along
# and nothing else, so that it is the same token after a bracket, a dot or a line break: the looser
# pieces of larger tokenizers pack 4 % more bytes into a token and predict worse (docs/log.md).
PIECES = "|".join(
    [
        r"'(?:[sdmt]|ll|ve|re)",  # contractions
        r" ?_*\p{Lu}+(?!\p{Ll})",  # HTTP, and the HTTP of HTTPServer
        r" ?_*\p{Lu}?\p{Ll}+",  # Server, server, _server
        r" ?[\p{L}\p{M}]+",  # scripts without case
        r" ?\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # punctuation, with the line break after it
        r"\s*[\r\n]+",
        r"\s+(?!\S)",  # indentation, but for the space before a word
        r"\s+",
    ]
)


def _byte_of_character() -> dict[str, int]:
    """How byte-level BPE spells each byte as one printable character (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTES) if byte not in printable]
    spelt = {chr(byte): byte for byte in printable}
    return spelt | {chr(BYTES + place): byte for place, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_of_character()


class Tokenizer:
    """A trained tokenizer. `encode` reads plain text: a special token written out in it is text.

    `config` is what stands in tokenizer_config.json of a checkpoint that keeps its own chat.
    """

    def __init__(
        self, inner: tokenizers.Tokenizer, config: Mapping[str, Any] | None = None
    ) -> None:
        inner.encode_special_tokens = True
        self._inner = inner
        self._config = dict(config or {})

    @property
    def vocabulary(self) -> int:
        """One more than the largest id, special tokens included; some ids may stand for none."""
        return 1 + max(self._inner.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides which ids a text gets; whatever wrote its file, and where."""
        plain = json.loads(self._inner.to_str())
        return json_digest({name: plain.get(name) for name in DECIDE_IDS})

    @property
    def end_of_text_id(self) -> int:
        """The id that stands behind each document, and before it where no other does."""
        return self.special_id(self._first_of(ENDS) or self._named("eos_token") or END_OF_TEXT)

    @property
    def begin_of_text_id(self) -> int:
        """The id that stands before each document."""
        begin = self._first_of(BEGINS)
        return self.end_of_text_id if begin is None else self.special_id(begin)

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end an answer: of a turn, and of a text."""
        return frozenset({self.end_of_text_id, self.special_id(self.chat.end)})

    @cached_property
    def chat(self) -> ChatFormat:
        """How conversations stand between this tokenizer's tokens.

        Raises DataError where the checkpoint has a chat template of no known kind.
        """
        if not self.keeps_its_chat:
            return OUR_CHAT
        variables = {name: self._named(name) or "" for name in NAMED}
        added = self._inner.get_added_tokens_decoder().values()
        specials = [token.content for token in added if token.special]
        plain = [token.content for token in added if not token.special]
        found = learn_format(self._config["chat_template"], specials, variables, plain)
        normalizer = self._inner.normalizer
        return found if normalizer is None else found.read_through(normalizer.normalize_str)

    @property
    def keeps_its_chat(self) -> bool:
        """Whether its checkpoint came with a chat template that is not ours."""
        return bool(self._config.get("chat_template", CHAT_TEMPLATE) != CHAT_TEMPLATE)

    def _first_of(self, tokens: Iterable[str]) -> str | None:
        return next((each for each in tokens if self._inner.token_to_id(each) is not None), None)

    def _named(self, name: str) -> str | None:
        """A token that the config names: as a string, or as an object with its content."""
        found = self._config.get(name)
        content = found.get("content") if isinstance(found, dict) else found
        return content if isinstance(content, str) else None

    def special_id(self, token: str) -> int:
        """The id of a special token. Raises DataError where this tokenizer has no such token."""
        found = self._inner.token_to_id(token)
        if found is None:
            raise DataError(
                f"the tokenizer has no token {token}",
                "tokenizer",
                "Take it in by `volano import hf:PATH`, which adds what is missing.",
            )
        return int(found)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def encode_markup(self, text: str) -> list[int]:
        """The ids of a text in which special tokens written out are meant (text/chat.py)."""
        return list(self._parsing.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _parsing(self) -> tokenizers.Tokenizer:
        # A copy: whether special tokens are read is a switch of the whole tokenizer.
        copy = tokenizers.Tokenizer.from_str(self._inner.to_str())
        copy.encode_special_tokens = False
        return copy

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, on all cores."""
        encoded = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [each.ids for each in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; special tokens are left out.

        The texts of two stretches of ids make that of both, but for a character that they share.
        """
        if self._spells_bytes:
            return str(self._inner.decode(list(ids), skip_special_tokens=True))
        # Its own decoder would drop the space before the first word of every stretch.
        added = self._inner.get_added_tokens_decoder()
        plain = (each for each in ids if not (each in added and added[each].special))
        return b"".join(map(self.bytes_of, plain)).decode("utf-8", "replace")

    def bytes_of(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for, half characters included; a special token's
        name."""
        spelt = str(self._inner.id_to_token(token) or "")
        if self._spells_bytes:
            try:
                return bytes(BYTE_OF_CHARACTER[each] for each in spelt)
            except KeyError:  # a special token
                return spelt.encode()
        byte = FALLBACK_BYTE.fullmatch(spelt)
        return bytes([int(byte[1], 16)]) if byte else spelt.replace(SPACE, " ").encode()

    @cached_property
    def _spells_bytes(self) -> bool:
        """Whether tokens are spelt a character per byte, as in GPT-2, and not as in Llama 2."""
        return "ByteLevel" in repr(self._inner.decoder)

    def with_our_chat(self) -> "Tokenizer":
        """The same tokenizer without the chat that it came with."""
        return Tokenizer(tokenizers.Tokenizer.from_str(self._inner.to_str()))

    def byte_lengths(self) -> list[int] | None:
        """By id, how many UTF-8 bytes of text each token stands for, 0 for a special one; None
        where a token's bytes depend on what stands beside it (it does not spell bytes)."""
        if not isinstance(self._inner.decoder, decoders.ByteLevel):
            return None
        added = self._inner.get_added_tokens_decoder()
        lengths = []
        for token in range(self.vocabulary):
            if token in added:
                special = added[token].special
                lengths.append(0 if special else len(added[token].content.encode()))
                continue
            spelt = str(self._inner.id_to_token(token) or "")
            if not all(each in BYTE_OF_CHARACTER for each in spelt):
                return None
            lengths.append(len(spelt))
        return lengths

    def add_special_tokens(self) -> list[int]:
        """Give ids to the special tokens that a foreign tokenizer lacks; the ids given."""
        missing = [each for each in SPECIAL_TOKENS if self._inner.token_to_id(each) is None]
        self._inner.add_special_tokens([_special(token) for token in SPECIAL_TOKENS])
        return [self.special_id(each) for each in missing]

    def save(self, folder: Path) -> None:
        """Write the files that transformers and the servers read, the chat template included."""
        with atomic_path(folder / TOKENIZER_FILE) as unfinished:
            unfinished.write_text(self._inner.to_str(pretty=True), "utf-8")
        if self.keeps_its_chat:
            write_json(folder / CONFIG_FILE, self._config)
            return
        end = self._first_of(ENDS) or END_OF_TEXT
        roles = {"bos_token": self._first_of(BEGINS) or end, "eos_token": end, "pad_token": end}
        write_json(folder / NAMES_FILE, roles)
        write_json(
            folder / CONFIG_FILE,
            {
                **roles,
                "tokenizer_class": "PreTrainedTokenizerFast",
                "chat_template": CHAT_TEMPLATE,
                "clean_up_tokenization_spaces": False,
                "extra_special_tokens": [t for t in SPECIAL_TOKENS if t != END_OF_TEXT],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer saved in a folder. Raises DataError where there is none."""
        path = folder / TOKENIZER_FILE
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise DataError(
                f"no tokenizer here ({TOKENIZER_FILE} is missing)",
                str(folder),
                "Name the folder of a tokenizer or checkpoint.",
            ) from None
        except (OSError, UnicodeDecodeError) as failure:
            raise _damaged(failure, path) from None
        try:
            json.loads(text)
            # The library raises plain Exception on a file that is JSON and no tokenizer.
            inner = tokenizers.Tokenizer.from_str(text)
        except Exception as failure:
            problem = str(failure).splitlines()[0]
            remedy = "Delete its folder to build it anew."
            raise DataError(f"not a tokenizer ({problem})", str(path), remedy) from None
        return cls(inner, _read_config(folder))


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> Tokenizer:
    """A tokenizer of at most `vocabulary` ids; equal texts in equal order give equal files.

    Fewer ids come out where the texts hold fewer pairs that occur twice. Raises DataError for a
    vocabulary that has no room for every byte and special token, and where there is no text.
    """
    least = BYTES + len(SPECIAL_TOKENS)
    if vocabulary < least:
        raise DataError(
            f"a vocabulary of {vocabulary} has no room for every byte",
            "tokenizer.vocabulary",
            f"Set at least {least}.",
        )
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[_special(token) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += bool(text)
            yield text

    inner.train_from_iterator(counted(), trainer)
    if not seen:
        raise DataError("no text to learn from", "tokenizer", "Check what curation has kept.")
    return Tokenizer(inner)


def _read_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, with the chat template and the names of special tokens in it, wherever
    transformers has put them."""
    config = _object_in(folder / CONFIG_FILE)
    elsewhere = _object_in(folder / NAMES_FILE)
    config |= {
        name: elsewhere[name]
        for name in NAMED
        if config.get(name) is None and elsewhere.get(name) is not None
    }
    path = folder / TEMPLATE_FILE
    if path.exists():
        try:
            config["chat_template"] = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as failure:
            raise _damaged(failure, path) from None
    template = _default_template(config.pop("chat_template", None), folder / CONFIG_FILE)
    return config if template is None else config | {"chat_template": template}


def _object_in(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds, an empty one where there is no such file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as failure:
        raise _damaged(failure, path) from None
    if not isinstance(found, dict):
        raise _damaged("not an object", path)
    return found


def _default_template(found: object, path: Path) -> str | None:
    if isinstance(found, list):  # several, by name
        if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in found):
            raise _damaged("chat_template is a list of other things than named templates", path)
        found = {each["name"]: each.get("template") for each in found}.get("default")
    if found is None or isinstance(found, str):
        return found
    raise _damaged(f"chat_template is no text but {json.dumps(found)[:40]}", path)


def _damaged(failure: object, path: Path) -> DataError:
    return DataError(f"damaged ({failure})", str(path), "Copy the checkpoint again.")


def _special(token: str) -> AddedToken:
    return AddedToken(token, special=True, normalized=False)
