"""What stands around each turn of a conversation: in our own chat, and in that of other models.

A checkpoint's chat template is a program, and nothing in it says which tokens a model should learn
to write. So its strings are found by rendering conversations whose contents are known, and proved
by rendering others: a template that puts anything else than a fixed text around a turn (tools,
dates, a system message inside the user's turn) is refused rather than guessed at.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from volano.core.errors import DataError, VolanoError
from volano.core.isolated import Isolated, Lost
from volano.core.records import Message
from volano.text.chat_template import OURS, Render, refused, renderer

MOST_ROUNDS = 8  # of breaking and normalising; one is enough for NFKC
ROLES = ("system", "user", "assistant")
LEARN_SECONDS = 30.0  # a template takes milliseconds; the rest is for a process on a busy machine


Trim = tuple[str | None, str | None]


@dataclass(frozen=True)
class ChatFormat:
    """The strings around turns, by role. A role that is missing cannot stand there.

    answer: what stands before an answer that is being made, and before one that ends a
    conversation. trims: by role, which characters a content loses at its left and right end, ""
    for none and None for all white space; "answer" is the assistant's turn that ends a
    conversation. marks: pieces of the markup that are no tokens ("[INST]"), which no content may
    write either. normalise: what the tokenizer makes of a text before it looks for tokens.
    """

    template: str
    specials: tuple[str, ...]  # tokens that no content may speak
    opening: Mapping[str, str]  # before the content of the first turn
    before: Mapping[str, str]  # before that of any later turn
    after: Mapping[str, str]
    answer: str
    trims: Mapping[str, Trim] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    normalise: Callable[[str], str] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def end(self) -> str:
        """The token that ends an answer. Raises DataError where the format has none."""
        found = self._special.search(self.after["assistant"])
        if found is None:
            raise refused("no token ends an answer in it")
        return found.group()

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return _any_of(self.specials)

    @cached_property
    def _breakable(self) -> re.Pattern[str]:
        # At least two characters, no white space at the ends: then a space goes inside each, what
        # stood apart by more than any of them holds is never found again, and breaking ends.
        written = [*self.specials, *self.marks]
        if self.normalise is not None:
            written += [self.normalise(each) for each in written]
        bare = (each.strip() for each in written)
        return _any_of(each for each in bare if len(each) > 1)

    def read_through(self, normalise: Callable[[str], str]) -> "ChatFormat":
        """The format for a tokenizer that normalises texts first, as by NFKC.

        Raises DataError where a mark that was broken is whole again afterwards.
        """
        found = replace(self, normalise=normalise)
        for each in (*self.specials, *self.marks):
            found.broken(each)
        return found

    def broken(self, content: str) -> str:
        """The content with a space in every special token and mark that is written out in it.

        Once more where one came to be by breaking another. One of a single character, or of white
        space alone, cannot be broken and stays; `learn_format` takes none that a role needs. A
        content that only normalising turns into such a token is normalised here, and then broken.
        """
        content = self._spaced(content)
        if self.normalise is None:
            return content
        for _ in range(MOST_ROUNDS):
            normal = self.normalise(content)
            spaced = self._spaced(normal)
            if spaced == normal:
                return content
            content = spaced
        raise refused("its tokenizer joins again what a space has parted")

    def _spaced(self, content: str) -> str:
        while True:
            spaced = self._breakable.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)
            if spaced == content:
                return spaced
            content = spaced

    def as_answer(self, content: str) -> str:
        """The content of an answer that ends a conversation, as it stands in it."""
        return self.broken(self._trimmed(content, "answer"))

    def _trimmed(self, content: str, turn: str) -> str:
        left, right = self.trims.get(turn, ("", ""))
        return content.lstrip(left).rstrip(right)

    def turns(self, messages: Sequence[Message]) -> list[tuple[str, str, str]]:
        """What stands before each content, the content, and what stands after it.

        Raises DataError for a role that is unknown or cannot stand where it does.
        """
        found = []
        for place, message in enumerate(messages):
            role = message.role
            if role not in ROLES:
                raise DataError(f"unknown role '{role}'", "conversation", f"Known: {_known()}.")
            before = (self.before if place else self.opening).get(role)
            if before is None or role not in self.after:
                where = "first" if not place else f"as turn {place + 1}"
                what = f"the model's chat knows no message of role '{role}' {where}"
                raise DataError(what, "conversation", f"Leave it out. {OURS}")
            content = self.broken(self._trimmed(message.content, role))
            if place and place == len(messages) - 1 and role == "assistant":
                before, content = self.answer, self.as_answer(message.content)
            found.append((before, content, self.after[role]))
        return found


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(set(texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def learn_format(
    template: str,
    specials: Iterable[str],
    variables: Mapping[str, Any],
    plain_tokens: Iterable[str] = (),
) -> ChatFormat:
    """The format that a Jinja template renders; `variables` are bos_token and the like.

    plain_tokens: those added to the tokenizer that are not special. One that the template writes
    (<think>) is as good as special here.

    Raises DataError where it renders something that is no fixed text around each turn, and where
    it takes long or fills the memory: it runs in a process of its own, once for equal arguments.
    """
    named = tuple(sorted(variables.items()))
    return _learnt_apart(template, tuple(specials), tuple(plain_tokens), named)


@cache
def _learnt_apart(
    template: str,
    specials: tuple[str, ...],
    plain_tokens: tuple[str, ...],
    variables: tuple[tuple[str, Any], ...],
) -> ChatFormat:
    try:
        with Isolated(LEARN_SECONDS) as child:
            found = child.call(
                _learnt_or_why_not, template, specials, plain_tokens, dict(variables)
            )
    except Lost as lost:
        raise refused(f"rendering it failed ({lost})") from None
    if isinstance(found, VolanoError):
        raise found
    assert isinstance(found, ChatFormat)
    return found


def _learnt_or_why_not(
    template: str,
    specials: tuple[str, ...],
    plain_tokens: tuple[str, ...],
    variables: Mapping[str, Any],
) -> ChatFormat | VolanoError:
    try:
        return _learnt(template, specials, plain_tokens, variables)
    except VolanoError as problem:  # handed over whole: an error raised there loses its remedy
        return problem


def _learnt(
    template: str,
    specials: tuple[str, ...],
    plain_tokens: tuple[str, ...],
    variables: Mapping[str, Any],
) -> ChatFormat:
    program = renderer(template, variables)
    written = [template, *map(str, variables.values())]  # all that the template has said, too

    def render(messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        rendered = program(messages, add_generation_prompt=add_generation_prompt)
        written.append(rendered)
        return rendered

    system, first, answer, second = (Message(role, word) for role, word in _PROBES)

    def around(*messages: Message) -> list[str]:
        return _around(render(messages), messages)

    opening, between, again, tail = around(first, answer, second)
    after_answer = around(first, answer)[-1]
    if around(first) != [opening, tail]:
        raise refused("its turns differ from conversation to conversation")
    before = {
        "user": _rest(again, after_answer, "user"),
        "assistant": _rest(between, tail, "assistant"),
    }
    openings, after = {"user": opening}, {"user": tail, "assistant": after_answer}
    try:
        begun, inner, _ = around(system, first)
        if not inner.endswith(before["user"]):
            raise refused("the system message is part of another turn")
        openings["system"], after["system"] = begun, inner.removesuffix(before["user"])
    except DataError:
        pass  # then a system message is refused where one comes up
    asked = render([first], add_generation_prompt=True).removeprefix(render([first]))
    said = "\n".join(written[1:])
    for _, word in _PROBES:
        said = said.replace(word, "\n")  # what stands before a content and behind it is two marks
    tokens = list(specials)
    tokens += [
        each for each in plain_tokens if _is_mark(each) and any(each in text for text in written)
    ]
    marks = tuple(sorted(set(_marks(_any_of(tokens).sub("\n", said)))))
    trims = {
        "user": _trim(render, [], "user", []),
        "assistant": _trim(render, [first], "assistant", [second]),
        "answer": _trim(render, [first], "assistant", []),
    }
    if "system" in after:
        trims["system"] = _trim(render, [], "system", [first])
    found = ChatFormat(template, tuple(tokens), openings, before, after, asked, trims, marks)
    found.end  # noqa: B018  (raises where there is none)
    markup = "".join([*openings.values(), *before.values(), *after.values(), asked])
    for special in specials:
        if special in markup and len(special.strip()) < 2:
            raise refused(f"any content can speak its token {special!r}")
    _prove(found, render)
    return found


_PROBES = (("system", "Zq1vk"), ("user", "Zq2vk"), ("assistant", "Zq3vk"), ("user", "Zq4vk"))


def _known() -> str:
    return ", ".join(ROLES)


def _prove(found: ChatFormat, render: Render) -> None:
    """Conversations that the strings were not read from come out the same."""
    for talk in _trials(with_system="system" in found.after):
        ours = "".join("".join(turn) for turn in found.turns(talk))
        theirs = [Message(each.role, found.broken(each.content)) for each in talk]
        if ours != render(theirs):
            raise refused("its turns do not stand between fixed texts")
        if talk[-1].role == "user" and ours + found.answer != render(
            theirs, add_generation_prompt=True
        ):
            raise refused("what stands before an answer is no fixed text")


# What templates are known to treat otherwise: blank ends, thoughts, nothing at all. An odd number,
# so that each text is said by both when the list goes round.
_TEXTS = (
    "Is it so?", "Yes.\n\nIt is.", "  ", "And <b>this</b>  ?", "{{ no }}\n", "\n\n both \n\n",
    "\n\tleft", " left", "right \t\n", "right ", "<think>\nHm.\n</think>\n\nYes.", "</think>", "",
)  # fmt: skip


def _trials(*, with_system: bool) -> list[list[Message]]:
    """Conversations of 1 to 27 messages: every text in every role, first, between and last."""

    def talk(*texts: str) -> list[Message]:
        return [Message(ROLES[1 + place % 2], text) for place, text in enumerate(texts)]

    talks = [talk(*_TEXTS, *_TEXTS), talk(*_TEXTS, *_TEXTS, _TEXTS[0]), talk(*["Yes."] * 12)]
    talks += [talk(text) for text in _TEXTS] + [talk("Is it so?", text) for text in _TEXTS]
    if with_system:
        briefs = ["Be brief.", "Yes.", *_TEXTS]
        talks += [
            [Message("system", brief), *rest]
            for brief in briefs
            for rest in (talk("Yes."), talk("Yes.", "Yes."), talk(*_TEXTS))
        ]
    return talks


_TAG = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
_MARK_CHARACTERS = re.compile(r"[<>\[\]{}|#]")


def _is_mark(text: str) -> bool:
    return len(text.strip()) > 1 and bool(_MARK_CHARACTERS.search(text))


def _marks(said: str) -> Iterable[str]:
    """What in the markup is neither token nor plain words: tags, and lines like '### User:'."""
    for line in map(str.strip, said.splitlines()):
        yield from _TAG.findall(line)
        if _is_mark(_TAG.sub("", line)):
            yield line


def _trim(render: Render, head: list[Message], role: str, tail: list[Message]) -> Trim:
    """What the content of that turn loses at its ends; of what no kind fits, proof will tell."""
    pad, word = "\n \n", "Zq5vk"

    def around(content: str) -> tuple[str, str]:
        before, _, after = render([*head, Message(role, content), *tail]).partition(word)
        return before, after

    (before, after), (padded, padded_after) = around(word), around(pad + word + pad)
    kinds = ("", "\n", None)
    left = next((kind for kind in kinds if before + pad.lstrip(kind) == padded), "")
    right = next((kind for kind in kinds if pad.rstrip(kind) + after == padded_after), "")
    return left, right


def _around(rendered: str, messages: Sequence[Message]) -> list[str]:
    """The texts before, between and after the contents of these messages."""
    parts, rest = [], rendered
    for message in messages:
        part, found, rest = rest.partition(message.content)
        if not found:
            raise refused(f"it leaves out what the {message.role} says")
        parts.append(part)
    return [*parts, rest]


def _rest(between: str, after: str, role: str) -> str:
    if not between.startswith(after):
        raise refused(f"what ends a turn depends on the {role}'s turn behind it")
    return between.removeprefix(after)
