"""What an answer looks like from outside: does it end, does it repeat itself, does it refuse.

Rules for short answers of small models; each says what counts, and none needs a judge.
"""

import re

REPEATED_WORDS = 4  # a sentence of documentation never says the same four words twice

# How refusals begin: "I can't", "I cannot", "I won't", "I'm not able", "I am unable", "Sorry, I".
REFUSAL = re.compile(
    r"\W*(?:(?:no|sorry|(?:i'm|i am) (?:very |so )?sorry|i apologi[sz]e)[\s,.;:!-]+(?:but\s+)?)*"
    r"(?:i (?:can't|cannot|can not|won't|will not|couldn't|could not|must (?:decline|refuse)|refuse"
    r"|decline|don't (?:help|write|do that))|(?:i'm|i am) (?:not (?:able|going|willing) to"
    r"|unable to)|this is something i (?:can't|won't))\b",
    re.IGNORECASE,
)
APOLOGY = re.compile(
    r"\W*(?:sorry|(?:i'm|i am) (?:very |so )?sorry|i apologi[sz]e)\b", re.IGNORECASE
)
MIN_ANSWER_WORDS = 3


def refuses(answer: str) -> bool:
    """Whether the answer opens by declining: "I can't …", "I won't …", "Sorry …".

    Only the opening counts. A model of this size has learnt its refusals from examples that all
    open so, and documentation never does; a refusal in other words would be missed, and a model
    that declines and then complies would count as refusing: read the answers in items.parquet.
    """
    text = answer.replace("\u2019", "'")
    return bool(REFUSAL.match(text) or APOLOGY.match(text))


def answers_the_question(answer: str) -> bool:
    """Whether the answer tries: no refusal, at least three words, and no loop.

    It says nothing of whether the answer is right.
    """
    return not refuses(answer) and len(answer.split()) >= MIN_ANSWER_WORDS and not repeats(answer)


def repeats(answer: str) -> bool:
    """Whether any four words in a row occur a second time, overlaps included; case is ignored."""
    words = re.findall(r"\w+", answer.lower())
    runs = [tuple(words[place : place + REPEATED_WORDS]) for place in range(len(words) - 3)]
    return len(set(runs)) < len(runs)
