"""Questions and answers to learn from: about documented functions, or a user's own.

The answer is the first sentence of the documentation. It is the one part that says what the
function is for, and a small model can learn to say it whole; parameters and examples it could
only recite. Safety is left to alignment, which needs to see both sides of a refusal.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from volano.core.jsonlines import BadLine, messages_of
from volano.core.records import Conversation, Document, Message
from volano.finetune.section import ConversationsSection
from volano.text.functions import (
    answer_about,
    function_documents,
    normalised,
    place_in_draw,
    question_about,
)


def ask_about_functions(
    documents: Iterable[Document], settings: ConversationsSection
) -> tuple[list[Conversation], Counter[str]]:
    """One conversation per training function, and how many functions were left out, by reason.

    "too_short" and "too_long" count words of the answer; "answer_repeated" is a function whose
    answer an earlier one had: what fits many functions says nothing of any; "not_drawn" are those
    beyond `function_conversations`.
    """
    conversations, left_out, seen = [], Counter[str](), set[str]()
    for origin, function in function_documents(documents, "train"):
        answer = answer_about(function)
        words, known_as = len(answer.split()), normalised(answer)
        if words < settings.min_answer_words:
            left_out["too_short"] += 1
        elif words > settings.max_answer_words:
            left_out["too_long"] += 1
        elif known_as in seen:
            left_out["answer_repeated"] += 1
        else:
            seen.add(known_as)
            conversations.append(
                Conversation(
                    id=f"ask:{function.id}",
                    messages=(
                        Message("user", question_about(function)),
                        Message("assistant", answer),
                    ),
                    source=origin.source,
                    kind="function",
                    licence=origin.licence,
                    source_ids=(function.id,),
                )
            )
    most = settings.function_conversations
    if most and len(conversations) > most:
        drawn = sorted(conversations, key=lambda each: place_in_draw(each.id))[:most]
        chosen = {each.id for each in drawn}
        left_out["not_drawn"] = len(conversations) - most
        conversations = [each for each in conversations if each.id in chosen]
    return conversations, left_out


def conversation_of(line: dict[str, Any], where: str) -> Conversation:
    """The conversation of one line of a user's JSONL file. Raises BadLine if it is none."""
    if "messages" not in line:
        raise BadLine("lacks `messages`")
    messages = messages_of(line["messages"])
    if messages[-1].role != "assistant":
        raise BadLine("the last message is not the assistant's: there is nothing to learn")
    return Conversation(
        id=str(line.get("id", where)),
        messages=messages,
        source=str(line.get("source", where.rpartition(":")[0])),
        licence=_text_or_none(line, "licence"),
        consent=_text_or_none(line, "consent"),
    )


def _text_or_none(line: dict[str, Any], key: str) -> str | None:
    return str(line[key]) if line.get(key) is not None else None
