"""A checkpoint's chat template, rendered as transformers renders it, and held to a bound.

The template is a program that came with somebody's download. It runs in Jinja's sandbox, which
keeps it from files and from Python's insides but bounds neither its time nor its memory, so
text/chat_format.py runs all of this in a process apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from volano.core.errors import DataError, MissingExtra
from volano.core.records import Message

OURS = "Import the checkpoint with `base_chat: ours`, which gives it a chat of our own."
MOST_CHARACTERS = 1_000_000  # of one rendered conversation; those rendered here are short


class Render(Protocol):
    """A template made ready. Raises DataError where it fails on these messages."""

    def __call__(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False
    ) -> str: ...


def refused(problem: str) -> DataError:
    """The error for a template that cannot be learnt."""
    return DataError(f"the chat template is of no known kind: {problem}", "chat_template", OURS)


def renderer(template: str, variables: Mapping[str, Any]) -> Render:
    """The template with its variables, in the sandbox that transformers uses.

    Raises DataError where it is no Jinja, MissingExtra where Jinja is not installed.
    """
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
        compiled = environment.from_string(template)
    except TemplateError as failure:
        raise refused(str(failure)) from None
    except Exception as failure:  # Jinja compiles to Python, which finds mistakes of its own
        raise refused(_in_a_line(failure)) from None

    def render(messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        plain = [{"role": each.role, "content": each.content} for each in messages]
        try:
            rendered = str(
                compiled.render(
                    **variables,
                    messages=plain,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,  # Qwen3: an answer without a chain of thought before it
                )
            )
        except Exception as failure:  # it is a program of others, and may raise anything
            problem = _in_a_line(failure)
        else:
            if len(rendered) <= MOST_CHARACTERS:
                return rendered
            problem = f"it makes {len(rendered):,} characters of a short conversation"
        raise refused(problem)

    return render


def _in_a_line(failure: Exception) -> str:
    return f"{type(failure).__name__} {failure}".splitlines()[0]
