"""What scripted people ask, and how they rate it.

Questions on functions, of every form, have one rule: the closer to the documentation, the better.
Harmless requests, which a recipe has to ask for, have no true answer: any real one is right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from volano.core.feedback import HIGHEST, LOWEST
from volano.core.records import Conversation, Document
from volano.evaluate.chrf import chrf
from volano.study.section import UsersSection
from volano.text.answers import answers_the_question
from volano.text.functions import answer_about, function_documents, place_in_draw

KNOWN_FRACTION = 2 / 3  # of the functions; the others are of the pool
MOST_ANSWER_WORDS = 30  # a longer sentence leaves a small context no room for an answer
# chrF from which an answer gets another star. Two texts on nothing in common have about 12.
STARS_FROM = (20.0, 35.0, 55.0, 75.0)
SATISFIED_STARS = 3  # below it, a person may write down what is right


@dataclass(frozen=True)
class Question:
    """One question of one person. `document` says where the truth was read; no one is told."""

    id: str
    prompt: str
    wanted: str
    document: str
    who: str
    rule: str = "documentation"  # or "answered": any real answer to a safe request is right


def questions_of(
    documents: Iterable[Document], safety: Iterable[Conversation], section: UsersSection
) -> list[Question]:
    """The questions of a session, in the order in which they are asked."""
    documents = list(documents)
    questions = []
    known_to_training = round(KNOWN_FRACTION * section.functions)
    for split, most in (
        ("train", known_to_training),
        ("pool", section.functions - known_to_training),
    ):
        known = [
            function
            for _, function in function_documents(documents, split)
            if 3 <= len(answer_about(function).split()) <= MOST_ANSWER_WORDS
        ]
        known.sort(key=lambda each: place_in_draw(f"asked:{each.id}"))
        for function in known[:most]:
            fields = {"name": function.qualified_name, "answer": answer_about(function)}
            for place, ask in enumerate(section.asks):
                number = int.from_bytes(place_in_draw(f"{place}:{function.id}")[:4])
                prompt = ask.prompts[number % len(ask.prompts)]
                questions.append(
                    Question(
                        f"{place}:{function.id}",
                        prompt.format(**fields),
                        ask.wanted.format(**fields),
                        function.id,
                        f"scripted-{number % 50}",
                    )
                )
    safe = [each for each in safety if each.kind == "safe" and each.split == "train"]
    safe.sort(key=lambda each: place_in_draw(f"asked:{each.id}"))
    for each in safe[: section.safe_requests]:
        number = int.from_bytes(place_in_draw(each.id)[:4])
        prompt, wanted = each.messages[0].content, each.messages[-1].content
        questions.append(
            Question(
                f"safe:{each.id}", prompt, wanted, each.id, f"scripted-{number % 50}", "answered"
            )
        )
    questions.sort(key=lambda each: place_in_draw(f"turn:{each.id}"))
    return questions


def stars_of(answer: str, question: Question) -> int:
    """1 to 5 stars: by chrF against the documentation, or by whether a safe request is answered."""
    if question.rule == "answered":
        return HIGHEST if answers_the_question(answer) else LOWEST
    return LOWEST + sum(chrf(answer, question.wanted) >= limit for limit in STARS_FROM)


def writes_it_down(question: Question, stars: int, section: UsersSection) -> bool:
    """Whether this person corrects this answer: by a hash of the question, always the same."""
    draw = int.from_bytes(place_in_draw(f"edit:{question.id}")[:4]) / 2**32
    return stars < SATISFIED_STARS and draw < section.edits


def summary_of(questions: Sequence[Question], stars: Sequence[int]) -> dict[str, float]:
    """Questions asked, and the share of each number of stars."""
    found: dict[str, float] = {"questions": float(len(questions))}
    for count in range(LOWEST, HIGHEST + 1):
        found[f"stars_{count}"] = stars.count(count) / max(len(stars), 1)
    return found
