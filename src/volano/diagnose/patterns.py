"""How questions and their right answers follow from a document, learnt from corrected answers.

"Which function does this: Return the absolute value." was corrected to "math.fabs": the question
holds one field of a document (its sentence), the right answer is another (its name). Where the same
words stand around the same fields in many corrections, that is a pattern, and every other document
gives one more question with its answer. Nothing is told of what people ask; a form is found because
they keep asking in it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from volano.diagnose.facts import FieldIndex

FIELDS = ("name", "answer")
MIN_SUPPORT = 3  # corrected answers that a pattern needs; two may agree by chance
MIN_AGREEMENT = 0.8  # of the corrected answers to the same form of question


@dataclass(frozen=True)
class Pattern:
    """Texts with `{name}` or `{answer}` in the place of a document's fields."""

    prompt: str
    wanted: str
    support: int
    agreement: float

    @property
    def relation(self) -> tuple[str, str]:
        """Which field is asked for, given which other one."""
        asked, said = (
            next(name for name in FIELDS if f"{{{name}}}" in text)
            for text in (self.prompt, self.wanted)
        )
        return asked, said

    def plain(self) -> dict[str, Any]:
        """For findings.json."""
        return asdict(self)

    def fill(self, fields: dict[str, str]) -> tuple[str, str]:
        """Question and answer for the document with these fields."""
        return self.prompt.format(**fields), self.wanted.format(**fields)


def patterns_of(pairs: Iterable[tuple[str, str]], index: FieldIndex) -> list[Pattern]:
    """The patterns in pairs of question and right answer, the best supported first."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for prompt, wanted in pairs:
        for form, said in forms_of(prompt, wanted, index):
            answers[form][said] += 1
    patterns = []
    for form, counts in answers.items():
        said, support = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
        agreement = support / counts.total()
        if support >= MIN_SUPPORT and agreement >= MIN_AGREEMENT:
            patterns.append(Pattern(form, said, support, agreement))
    return sorted(patterns, key=lambda each: (-each.support, each.prompt))


def forms_of(prompt: str, wanted: str, index: FieldIndex) -> list[tuple[str, str]]:
    """The pair with a field of one and the same document taken out of both; none if there is none.

    What is taken out of the answer must be another field than what stands in the question: an
    answer that only repeats the question teaches nothing.
    """
    found: dict[tuple[str, str], None] = {}
    asked, answered = index.mentions(prompt), index.mentions(wanted)
    for one in asked:
        about = set(index.documents_with(one.field, prompt[one.begin : one.end]))
        for other in answered:
            said = index.documents_with(other.field, wanted[other.begin : other.end])
            if one.field != other.field and about.intersection(said):
                form = _without(prompt, one.begin, one.end, one.field)
                answer = _without(wanted, other.begin, other.end, other.field)
                found[form, answer] = None
    return list(found)


def _without(text: str, begin: int, end: int, field: str) -> str:
    before, after = (
        part.replace("{", "{{").replace("}", "}}") for part in (text[:begin], text[end:])
    )
    return f"{before}{{{field}}}{after}"
