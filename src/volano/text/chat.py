"""The one renderer of conversations: training, evaluation and serving all see these tokens.

    <|user|>What is 2 + 2?<|end|><|assistant|>4<|end|>

Nothing stands between a special token and the content beside it, so each content is tokenised
alone: a prompt's tokens are always the beginning of the whole conversation's, and no rendering
is ever tokenised as one string here.

Content cannot speak for another role. A special token written out inside a content is broken by
a space ("<|end|>" becomes "< |end|>"), here and in the template alike: transformers parses special
tokens in the rendered string, so leaving them whole would let a user end his own turn there, and
the two would disagree. All other content passes through unchanged.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from volano.core.errors import DataError
from volano.core.records import Message

if TYPE_CHECKING:
    from volano.text.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"  # before each document, and after it
END = "<|end|>"  # after each turn
ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS = (END_OF_TEXT, END, *ROLE_TOKENS.values())  # their ids are their places


def _broken(special: str) -> str:
    return f"{special[0]} {special[1:]}"


def _template() -> str:
    # Breaking inserts and never deletes, and no special token holds a space or can begin inside
    # another: one pass over the five, in any order, leaves none whole.
    breaking = "".join(
        f" | replace({special!r}, {_broken(special)!r})" for special in SPECIAL_TOKENS
    )
    roles = list(ROLE_TOKENS)
    return (
        "{%- for message in messages -%}"
        f"{{%- if message['role'] not in {roles} -%}}"
        "{{- raise_exception('unknown role ' ~ message['role']) -}}"
        "{%- endif -%}"
        "{{- '<|' ~ message['role'] ~ '|>' -}}"
        f"{{{{- message['content']{breaking} -}}}}"
        f"{{{{- '{END}' -}}}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}"
        f"{{{{- '{ROLE_TOKENS['assistant']}' -}}}}"
        "{%- endif -%}"
    )


CHAT_TEMPLATE = _template()


class EncodedConversation(NamedTuple):
    """Token ids, and which of them the assistant says: its content and the end of its turn."""

    ids: list[int]
    is_answer: list[bool]


def render(messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
    """The conversation as text. With `add_generation_prompt` it ends where the assistant begins."""
    turns = [f"{_header(each)}{break_special_tokens(each.content)}{END}" for each in messages]
    return "".join(turns) + (ROLE_TOKENS["assistant"] if add_generation_prompt else "")


def encode_conversation(
    tokenizer: "Tokenizer", messages: Sequence[Message], *, last_answer_only: bool = False
) -> EncodedConversation:
    """The tokens of the whole conversation, those of the rendering in transformers.

    With `last_answer_only` no earlier turn of the assistant counts as an answer.
    """
    ids: list[int] = []
    is_answer: list[bool] = []
    for place, message in enumerate(messages):
        learnt = message.role == "assistant"
        if last_answer_only and place < len(messages) - 1:
            learnt = False
        content = tokenizer.encode(break_special_tokens(message.content))
        ids += [tokenizer.special_id(_header(message)), *content, tokenizer.special_id(END)]
        is_answer += [False] + [learnt] * (len(content) + 1)
    return EncodedConversation(ids, is_answer)


def encode_prompt(tokenizer: "Tokenizer", messages: Sequence[Message]) -> list[int]:
    """The tokens up to where the assistant begins to answer."""
    ids = encode_conversation(tokenizer, messages).ids
    return [*ids, tokenizer.special_id(ROLE_TOKENS["assistant"])]


def break_special_tokens(content: str) -> str:
    """The content with a space in every special token that is written out in it."""
    for special in SPECIAL_TOKENS:
        content = content.replace(special, _broken(special))
    return content


def _header(message: Message) -> str:
    if message.role not in ROLE_TOKENS:
        raise DataError(
            f"unknown role '{message.role}'", "conversation", f"Known: {', '.join(ROLE_TOKENS)}."
        )
    return ROLE_TOKENS[message.role]
