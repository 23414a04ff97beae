"""What stands around each turn of a conversation: in our own chat, and in that of other models.

A checkpoint's chat template is a program, and nothing in it says which tokens a model should learn
to write. So its strings are found by rendering conversations whose contents are known, and proved
by rendering others: a template that puts anything else than a fixed text around a turn (tools,
dates, a system message inside the user's turn) is refused rather than guessed at.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from volano.core.errors import DataError, VolanoError
from volano.core.isolated import Isolated, Lost
from volano.core.records import Message
from volano.text.chat_template import OURS, Render, refused, renderer

ROLES = ("system", "user", "assistant")
LEARN_SECONDS = 30.0  # a template takes milliseconds; the rest is for a process on a busy machine


@dataclass(frozen=True)
class ChatFormat:
    """The strings around turns, by role. A role that is missing cannot stand there.

    answer: what stands before an answer that is being made, and before one that ends a
    conversation. trims: roles whose contents lose white space at both ends.
    """

    template: str
    specials: tuple[str, ...]  # tokens that no content may speak
    opening: Mapping[str, str]  # before the content of the first turn
    before: Mapping[str, str]  # before that of any later turn
    after: Mapping[str, str]
    answer: str
    trims: frozenset[str] = field(default_factory=frozenset)

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
        bare = (each.strip() for each in self.specials)
        return _any_of(each for each in bare if len(each) > 1)

    def broken(self, content: str) -> str:
        """The content with a space in every special token that is written out in it.

        Once more where a token came to be by breaking another. One of a single character, or of
        white space alone, cannot be broken and stays; `learn_format` takes none that a role needs.
        """
        while True:
            spaced = self._breakable.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)
            if spaced == content:
                return spaced
            content = spaced

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
            if place and place == len(messages) - 1 and role == "assistant":
                before = self.answer
            content = message.content.strip() if role in self.trims else message.content
            found.append((before, self.broken(content), self.after[role]))
        return found


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(set(texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def learn_format(
    template: str, specials: Iterable[str], variables: Mapping[str, Any]
) -> ChatFormat:
    """The format that a Jinja template renders; `variables` are bos_token and the like.

    Raises DataError where it renders something that is no fixed text around each turn, and where
    it takes long or fills the memory: it runs in a process of its own, once for equal arguments.
    """
    return _learnt_apart(template, tuple(specials), tuple(sorted(variables.items())))


@cache
def _learnt_apart(
    template: str, specials: tuple[str, ...], variables: tuple[tuple[str, Any], ...]
) -> ChatFormat:
    try:
        with Isolated(LEARN_SECONDS) as child:
            found = child.call(_learnt_or_why_not, template, specials, dict(variables))
    except Lost as lost:
        raise refused(f"rendering it failed ({lost})") from None
    if isinstance(found, VolanoError):
        raise found
    assert isinstance(found, ChatFormat)
    return found


def _learnt_or_why_not(
    template: str, specials: tuple[str, ...], variables: Mapping[str, Any]
) -> ChatFormat | VolanoError:
    try:
        return _learnt(template, specials, variables)
    except VolanoError as problem:  # handed over whole: an error raised there loses its remedy
        return problem


def _learnt(template: str, specials: tuple[str, ...], variables: Mapping[str, Any]) -> ChatFormat:
    render = renderer(template, variables)
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
    padded = {
        "system": [Message("system", " x "), first],
        "user": [Message("user", " x ")],
        "assistant": [first, Message("assistant", " x ")],
    }
    trims = frozenset(role for role in after if " x " not in render(padded[role]))
    asked = render([first], add_generation_prompt=True).removeprefix(render([first]))
    found = ChatFormat(template, specials, openings, before, after, asked, trims)
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
    texts = ["Is it so?", "Yes.\n\nIt is.", "  ", "And <b>this</b>  ?", "{{ no }}\n"]
    talks = [[Message(ROLES[1 + place % 2], text) for place, text in enumerate(texts)]]
    talks.append(talks[0][:2])
    if "system" in found.after:
        talks += [[Message("system", " Be brief.\n"), *talk] for talk in talks]
    for talk in talks:
        ours = "".join("".join(turn) for turn in found.turns(talk))
        if ours != render(talk):
            raise refused("its turns do not stand between fixed texts")
        if talk[-1].role == "user" and ours + found.answer != render(
            talk, add_generation_prompt=True
        ):
            raise refused("what stands before an answer is no fixed text")


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
