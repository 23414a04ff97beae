"""One case per judged answer: what was asked, what came, what was wanted, and whether it failed.

Cases come from what people said (ratings, thumbs, edits, choices: all events of one request are one
case) and from the items that an evaluation marked wrong. An evaluated item is a test: it may show
what fails and always belongs to the held-out half.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from volano.core.feedback import AXES, HIGHEST, LOWEST, from_the_other_side
from volano.core.records import Conversation, Message, Rating
from volano.diagnose.section import DiagnoseSection
from volano.text.answers import refuses
from volano.text.functions import FunctionDocument, answer_about, plain_question

EVALUATED = "evaluation"
LITTLE_CHANGED = 0.9  # an edit that keeps this much of the answer is a correction, no failure


@dataclass(frozen=True)
class Case:
    """One judged answer. `score` runs from 0 to 1; `safe` is None where nobody said."""

    id: str
    prompt: str  # the last thing that was asked
    answer: str
    score: float
    failed: bool
    checkpoint: str = ""
    request_id: str = ""
    wanted: str | None = None
    preferred: str | None = None
    ended: bool | None = None
    safe: bool | None = None
    only_bad: bool = False  # few stars for harmless and as few for the rest: harmful, or just bad
    tested: bool = False
    who: str | None = None
    licence: str | None = None
    source: str = ""
    events: tuple[str, ...] = ()
    document: str | None = None  # where it is known beforehand: of an evaluated item
    before: tuple[Message, ...] = ()  # what was said before the prompt


def judged_cases(ratings: Iterable[Rating], settings: DiagnoseSection) -> list[Case]:
    """One case per request that people judged, in the order of request ids. Of two answers of one
    model that were compared, both are judged. A remark or a tie is no verdict and makes no case."""
    by_request: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_request[rating.request_id].append(rating)
        other = from_the_other_side(rating)
        if other is not None and other.checkpoint == rating.checkpoint:
            by_request[other.request_id].append(other)
    found = (_judged(by_request[name], settings) for name in sorted(by_request))
    return [each for each in found if each is not None]


def _judged(events: Sequence[Rating], settings: DiagnoseSection) -> Case | None:
    first = events[0]
    *asked, answer = first.messages
    metadata = json.loads(first.metadata)
    scores, wanted, preferred, harmful, alone = [], None, None, False, False
    for event in sorted(events, key=lambda each: each.id):
        stars = [value for axis in AXES if (value := getattr(event, axis)) is not None]
        if stars:
            scores.append((min(stars) - LOWEST) / (HIGHEST - LOWEST))
            if event.harmless is not None:
                harmful = event.harmless <= LOWEST + 1
                alone = event.harmless == min(stars) and stars.count(event.harmless) == 1
        if event.thumb is not None:
            scores.append(1.0 if event.thumb == "up" else 0.0)
        if event.edit:
            wanted = event.edit  # of several people's the last by id; a person has but one
            kept = SequenceMatcher(None, answer.content, event.edit, autojunk=False).ratio()
            scores.append(1.0 if kept >= LITTLE_CHANGED else kept / 2)
        if event.choice == "other":
            preferred = json.loads(event.metadata).get("other_answer")
            scores.append(0.0)
        elif event.choice == "this":
            scores.append(1.0)
    if not scores:
        return None
    score = min(scores)  # one person's complaint is a failure, whatever the others say
    return Case(
        id=f"request:{first.request_id}",
        prompt=asked[-1].content,
        before=tuple(asked[:-1]),
        answer=answer.content,
        score=score,
        failed=score <= (settings.low_stars - LOWEST) / (HIGHEST - LOWEST),
        checkpoint=first.checkpoint,
        request_id=first.request_id,
        wanted=wanted,
        preferred=preferred,
        ended=metadata.get("ended"),
        safe=_is_safe(harmful, wanted),
        only_bad=harmful and not alone and wanted is None,
        who=first.who,
        licence=first.licence,
        source=first.source,
        events=tuple(sorted(source for event in events for source in event.source_ids)),
    )


def _is_safe(harmful: bool, wanted: str | None) -> bool | None:
    # Who finds a refusal harmless and writes the answer down instead has asked something safe;
    # who calls an answer harmful says that it should not have been given.
    if wanted is not None:
        return not refuses(wanted)
    return False if harmful else None


def evaluated_cases(
    items: Iterable[Mapping[str, Any]],
    functions: Mapping[str, FunctionDocument],
    safety: Mapping[str, Conversation],
    settings: DiagnoseSection,
) -> list[Case]:
    """One case per generated answer of an evaluation, right or wrong; all of them held out.

    `items` are the rows of its items.parquet of one stage.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for item in items:
        found[str(item["id"])][str(item["task"])] = item
    cases = []
    for name in sorted(found):
        tasks = found[name]
        if "answer_chrf" in tasks and name in functions:
            function = functions[name]
            chrf = float(tasks["answer_chrf"]["score"])
            ended = bool(tasks["answers_end"]["correct"]) if "answers_end" in tasks else None
            repeats = "answers_repeat" in tasks and bool(tasks["answers_repeat"]["correct"])
            cases.append(
                Case(
                    id=f"item:answer_chrf:{name}",
                    prompt=plain_question(function.qualified_name),
                    answer=str(tasks["answer_chrf"]["answer"]),
                    score=chrf / 100,
                    failed=chrf < settings.low_chrf or ended is False or repeats,
                    wanted=answer_about(function),
                    ended=ended,
                    safe=True,
                    tested=True,
                    source=EVALUATED,
                    document=name,
                )
            )
        for task in tasks.keys() & {"refusal_unsafe", "answered_safe"}:
            if name not in safety:
                continue
            right = bool(tasks[task]["correct"])
            cases.append(
                Case(
                    id=f"item:{task}:{name}",
                    prompt=safety[name].messages[0].content,
                    answer=str(tasks[task]["answer"]),
                    score=float(right),
                    failed=not right,
                    wanted=safety[name].messages[-1].content,
                    safe=task == "answered_safe",
                    tested=True,
                    source=EVALUATED,
                )
            )
    return cases
