"""Scores that a language model gives to texts: what is asked, and what counts as an answer.

A large model is asked about some thousands of documents, and a small classifier learns from them to
judge all others (Penedo et al. 2024, section 4: FineWeb-Edu, 460,000 documents, scores 0 to 5, of
which 3 and more are kept). Only an answer that says its score in so many words is believed.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from volano.core.errors import DataError
from volano.core.records import Message
from volano.core.responder import Responder, Response

PLACE = "{text}"
MARKER = "Educational score:"
HIGHEST = 5


class Judged(NamedTuple):
    """One answer; without a score, why there is none."""

    score: int | None
    answer: str
    reason: str = ""


def score_in(response: Response, marker: str = MARKER) -> Judged:
    """The score in an answer: a whole number from 0 to 5 behind the marker, on the same line.

    The marker may be in any case. An answer that names two different scores has none; one that was
    cut off has one if it got so far.
    """
    found = re.findall(rf"{re.escape(marker)}[ \t]*(-?[\w./,-]+)", response.text, re.IGNORECASE)
    values = {each.rstrip(".,") for each in found}
    if not values:
        cut = "" if response.ended else ", and the length limit cut it off"
        return Judged(None, response.text, f"no '{marker}' with a number{cut}")
    if len(values) > 1:
        return Judged(None, response.text, f"different scores: {', '.join(sorted(values))}")
    (value,) = values
    if not re.fullmatch(r"\d", value, re.ASCII) or int(value) > HIGHEST:
        return Judged(None, response.text, f"'{value}' is no whole number from 0 to {HIGHEST}")
    return Judged(int(value), response.text)


def check_template(template: str, where: str) -> None:
    """Raise DataError where the prompt has no place for the text."""
    if PLACE not in template:
        raise DataError(f"no {PLACE} in the prompt", where, "Write it where the document goes.")


def judge_texts(
    texts: Sequence[str],
    responder: Responder,
    template: str,
    journal: Path,
    *,
    named: str,
    marker: str = MARKER,
    characters: int = 4000,
    max_tokens: int = 512,
    at_once: int = 32,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Judged]:
    """Ask about each text, of which the first `characters` are shown; equal texts are asked once.

    Answers are kept in `journal` as they come, `at_once` at a time, under a hash of the prompt and
    of `named` (model and settings): a run that was stopped asks only for what is missing.
    """
    prompts = [template.replace(PLACE, text[:characters]) for text in texts]
    keys = [_key(prompt, named, max_tokens) for prompt in prompts]
    known = _read(journal)
    missing = list(dict.fromkeys(key for key in keys if key not in known))
    advance(sum(key in known for key in keys))
    prompt_of = dict(zip(keys, prompts, strict=True))
    times = Counter(keys)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as stream:
        for start in range(0, len(missing), at_once):
            part = missing[start : start + at_once]
            asked = [(Message("user", prompt_of[key]),) for key in part]
            responses = responder.respond(asked, max_tokens=max_tokens)
            for key, response in zip(part, responses, strict=True):
                known[key] = response
                row = {"key": key, "text": response.text, "ended": response.ended}
                stream.write(json.dumps(row) + "\n")
            stream.flush()
            advance(sum(times[key] for key in part))
    return [score_in(known[key], marker) for key in keys]


def _key(prompt: str, named: str, max_tokens: int) -> str:
    return hashlib.sha256(json.dumps([prompt, named, max_tokens]).encode()).hexdigest()


def _read(journal: Path) -> dict[str, Response]:
    found: dict[str, Response] = {}
    if not journal.is_file():
        return found
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):  # the line that a kill cut off; what follows must begin a new one
        journal.write_bytes(whole)
    for line in whole.splitlines():
        try:
            row = json.loads(line)
            found[row["key"]] = Response(row["text"], 0, row["ended"])
        except (ValueError, KeyError, TypeError):
            raise DataError(
                "this is no journal of answers", str(journal), "Delete it, or name another --out."
            ) from None
    return found
