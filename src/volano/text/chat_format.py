"""What stands around each turn of a conversation: in our own chat, and in that of other models.

A checkpoint's chat template is a program, and nothing in it says which tokens a model should learn
to write. So its strings are found by rendering conversations whose contents are known, and proved
by rendering others: a template that puts anything else than a fixed text around a turn (tools,
dates, a system message inside the user's turn) is refused rather than guessed at.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from volano.core.errors import DataError, MissingExtra
from volano.core.records import Message

ROLES = ("system", "user", "assistant")
OURS = "Import the checkpoint with `base_chat: ours`, which gives it a chat of our own."


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
        longest_first = sorted(self.specials, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def broken(self, content: str) -> str:
        """The content with a space in every special token that is written out in it.

        Once more where a token came to be by breaking another.
        """
        while True:
            spaced = self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)
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


def learn_format(
    template: str, specials: Iterable[str], variables: Mapping[str, Any]
) -> ChatFormat:
    """The format that a Jinja template renders; `variables` are bos_token and the like.

    Raises DataError where it renders something that is no fixed text around each turn.
    """
    render = _renderer(template, variables)
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
    found = ChatFormat(template, tuple(specials), openings, before, after, asked, trims)
    found.end  # noqa: B018  (raises where there is none)
    _prove(found, render)
    return found


def refused(problem: str) -> DataError:
    """The error for a template that cannot be learnt."""
    return DataError(f"the chat template is of no known kind: {problem}", "chat_template", OURS)


_PROBES = (("system", "Zq1vk"), ("user", "Zq2vk"), ("assistant", "Zq3vk"), ("user", "Zq4vk"))


def _known() -> str:
    return ", ".join(ROLES)


def _prove(found: ChatFormat, render: "_Render") -> None:
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


class _Render:
    """A template as transformers renders it: the same Jinja, in the same sandbox."""

    def __init__(self, compiled: Any, variables: Mapping[str, Any]) -> None:
        self._compiled, self._variables = compiled, variables

    def __call__(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        plain = [{"role": each.role, "content": each.content} for each in messages]
        try:
            return str(
                self._compiled.render(
                    **self._variables,
                    messages=plain,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,  # Qwen3: an answer without a chain of thought before it
                )
            )
        except Exception as failure:  # it is a program of others, and may raise anything
            problem = f"{type(failure).__name__} {failure}".splitlines()[0]
        raise refused(problem)


def _renderer(template: str, variables: Mapping[str, Any]) -> _Render:
    try:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise MissingExtra(
            "jinja2 is not installed", "chat_template", "Run pip install 'volano[serve]'."
        ) from None

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = raise_exception
    try:
        return _Render(environment.from_string(template), variables)
    except TemplateError as failure:
        raise refused(str(failure)) from None
