"""The one renderer of conversations: training, evaluation and serving all see these tokens.

    <|user|>What is 2 + 2?<|end|><|assistant|>4<|end|>

Nothing stands between a special token and the content beside it, so each content is tokenised
alone: a prompt's tokens are always the beginning of the whole conversation's, and no rendering
is ever tokenised as one string here.

A checkpoint that came with a chat of its own keeps it (text/chat_format.py): the strings around
turns are then its own, and all else is the same.

Content cannot speak for another role. A special token written out inside a content is broken by
a space ("<|end|>" becomes "< |end|>"), here and in the template alike: transformers parses special
tokens in the rendered string, so leaving them whole would let a user end his own turn there, and
the two would disagree. Where a checkpoint keeps its chat, the same holds for what marks a role
in plain text there ("[INST]"). All other content passes through unchanged.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from volano.core.records import Message
from volano.text.chat_format import ROLES, ChatFormat

if TYPE_CHECKING:
    from volano.text.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"  # before each document, and after it
END = "<|end|>"  # after each turn
ROLE_TOKENS = {role: f"<|{role}|>" for role in ROLES}
SPECIAL_TOKENS = (END_OF_TEXT, END, *ROLE_TOKENS.values())  # their ids are their places


def _template() -> str:
    # Breaking inserts and never deletes, and no special token holds a space or can begin inside
    # another: one pass over the five, in any order, leaves none whole.
    breaking = "".join(
        f" | replace({special!r}, {f'{special[0]} {special[1:]}'!r})" for special in SPECIAL_TOKENS
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
OUR_CHAT = ChatFormat(
    template=CHAT_TEMPLATE,
    specials=SPECIAL_TOKENS,
    opening=ROLE_TOKENS,
    before=ROLE_TOKENS,
    after=dict.fromkeys(ROLES, END),
    answer=ROLE_TOKENS["assistant"],
)


class EncodedConversation(NamedTuple):
    """Token ids, and which of them the assistant says: its content and the end of its turn."""

    ids: list[int]
    is_answer: list[bool]


def render(
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    chat: ChatFormat = OUR_CHAT,
) -> str:
    """The conversation as text. With `add_generation_prompt` it ends where the assistant begins."""
    turns = ["".join(turn) for turn in chat.turns(messages)]
    return "".join(turns) + (chat.answer if add_generation_prompt else "")


def encode_conversation(
    tokenizer: "Tokenizer", messages: Sequence[Message], *, last_answer_only: bool = False
) -> EncodedConversation:
    """The tokens of the whole conversation, those of the rendering in transformers.

    They differ from those where the text before an answer and the answer would share a token:
    whoever answers has the text before it as it stands. With `last_answer_only` no earlier turn of
    the assistant counts as an answer.
    """
    ids, is_answer, pending = _spoken(tokenizer, messages, last_answer_only)
    rest = tokenizer.encode_markup(pending)
    return EncodedConversation(ids + rest, is_answer + [False] * len(rest))


def encode_prompt(tokenizer: "Tokenizer", messages: Sequence[Message]) -> list[int]:
    """The tokens up to where the assistant begins to answer."""
    ids, _, pending = _spoken(tokenizer, messages, last_answer_only=False)
    return ids + tokenizer.encode_markup(pending + tokenizer.chat.answer)


def encode_answer(tokenizer: "Tokenizer", answer: str) -> list[int]:
    """The tokens of an answer behind `encode_prompt`, the end of its turn included."""
    return _answered(tokenizer, tokenizer.chat.as_answer(answer))


def _answered(tokenizer: "Tokenizer", content: str) -> list[int]:
    chat = tokenizer.chat
    closing = chat.after["assistant"].partition(chat.end)[0]
    # Behind a special token, as it stands in the conversation: some tokenizers put a space before
    # whatever begins a text.
    ids = tokenizer.encode_markup(chat.end + content + closing)[1:]
    return [*ids, tokenizer.special_id(chat.end)]


def _spoken(
    tokenizer: "Tokenizer", messages: Sequence[Message], last_answer_only: bool
) -> tuple[list[int], list[bool], str]:
    """The tokens up to the end of the last answer, which are learnt, and the text behind them."""
    chat = tokenizer.chat
    ids: list[int] = []
    is_answer: list[bool] = []
    pending = ""  # what nobody learns, up to the next answer
    for place, (before, content, after) in enumerate(chat.turns(messages)):
        if messages[place].role != "assistant":
            pending += before + content + after
            continue
        header = tokenizer.encode_markup(pending + before)
        answer = _answered(tokenizer, content)
        learnt = not last_answer_only or place == len(messages) - 1
        ids += header + answer
        is_answer += [False] * len(header) + [learnt] * len(answer)
        pending = after.partition(chat.end)[2]
    return ids, is_answer, pending
