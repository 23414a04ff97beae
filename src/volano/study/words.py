"""What a stranger reads in place of a name in the code: stages, phases, measures, filters."""

from collections.abc import Sequence
from typing import NamedTuple

from volano.core.feedback import SCRIPTED
from volano.core.report import Measurement


class Measure(NamedTuple):
    """A measure of an evaluation: its title, what it asks, and whether fewer are better."""

    title: str
    asks: str
    fewer: bool = False


PERCENT = "\u00a0%"  # never at the beginning of a line
BASE, TUNED, FIRST = "base", "fine-tuned", "version 1"
COLUMNS = {"base": BASE, "sft": TUNED, "aligned": FIRST}  # of the first evaluation
TRAINING = {"base": "Pre-training", "sft": "Fine-tuning", "aligned": "Alignment"}
BESIDE = {
    "chance": "chance",
    "lexical": "word overlap",
    "random": "an untrained model",
    "base as document": "base, asked in the form of a document",
    "bag of words": "a word counter trained on the same data",
}
MEASURES = {
    "choice_pmi": Measure(
        "Right answer chosen of four",
        "Of four real answers, is the right one the likeliest, compared with how likely it is "
        "without the question?",
    ),
    "choice_normalised": Measure(
        "Right answer chosen, by length", "The same, by likelihood per byte of the answer."
    ),
    "answer_chrf": Measure(
        "Likeness to the documentation",
        "chrF, 0 to 100: how many runs of letters the answer shares with the documented one.",
    ),
    "answers_end": Measure("Answers that end", "Does the model finish before the limit?"),
    "conversation_bits": Measure(
        "Bits per byte of held-out answers",
        "How well answers are foreseen that were kept from training.",
        fewer=True,
    ),
    "conversation_chrf": Measure(
        "Likeness to held-out answers",
        "chrF, 0 to 100: how many runs of letters the answer shares with the one kept back.",
    ),
    "conversations_end": Measure(
        "Held-out answers that end", "Does the model finish before the limit?"
    ),
    "answers_repeat": Measure(
        "Answers that repeat", "Does an answer say the same over and over?", fewer=True
    ),
    "refusal_unsafe": Measure(
        "Unsafe requests declined", "Is a request that would harm somebody declined?"
    ),
    "answered_safe": Measure(
        "Safe requests answered", "Is a harmless request that looks like them answered?"
    ),
    "refused_safe": Measure(
        "Safe requests declined", "Is a harmless request declined?", fewer=True
    ),
    "memorised": Measure(
        "Training documents said by heart",
        "Is a document of the training continued word for word from its beginning?",
        fewer=True,
    ),
    "leaked": Measure(
        "Planted secrets that come back",
        "Is the secret of a planted canary said when its owner is named?",
        fewer=True,
    ),
    "exposure": Measure(
        "Exposure of planted secrets",
        "Bits by which the true secret is likelier than others of its form.",
        fewer=True,
    ),
    "toxicity": Measure(
        "Toxicity of continuations", "How likely is a continuation toxic?", fewer=True
    ),
    "bits_per_byte": Measure("Bits per byte", "How well held-out text is foreseen.", fewer=True),
    "held_out_half": Measure(
        "Questions kept back",
        "Of the kinds that failed, and never taught: how much nearer is the answer to what is "
        "wanted than to what other questions want?",
    ),
    "held_out_half_exact": Measure("… answered to the letter", "The same, as an exact match."),
    "held_out_half_choice": Measure(
        "… chosen of four", "The right answer among four that share as many words."
    ),
    "half_ends": Measure("… answers that end", "Does the model finish before the limit?"),
}
PLOTTED = (
    "conversation_bits", "conversation_chrf", "choice_pmi", "answer_chrf", "answers_end",
    "refusal_unsafe", "answered_safe", "bits_per_byte",
)  # fmt: skip
FILTERS = {
    "input": "collected",
    "boilerplate": "only what its site repeats",
    "language": "another language",
    "gopher_quality": "no prose",
    "gopher_repetition": "repeats itself",
    "c4": "too few sentences",
    "fineweb": "lists and scraps",
    "decontaminate": "quotes the test",
    "held_out": "is in the test",
    "perplexity": "unlike trusted text",
    "classifier": "not of the wanted kind",
    "exact": "exact copy",
    "near": "near copy",
    "semantic": "the same in other words",
    "cut": "too short without copied lines",
}
# Stage, without its version → phase.
PHASES = {
    "collected": "collect",
    "planted": "collect",
    "reference": "collect",
    "safety": "collect",
    "held_out": "collect",
    "curated": "curate",
    "tokenizer": "tokenise",
    "tokens": "tokenise",
    "base": "pre-train",
    "conversations": "fine-tune",
    "sft": "fine-tune",
    "preferences": "align",
    "aligned": "align",
    "report": "evaluate",
    "released": "release",
    "users": "serve and rate",
    "ratings": "serve and rate",
    "findings": "diagnose",
    "requested": "diagnose",
    "requested-preferences": "diagnose",
    "gate": "gate",
}


def measure_of(name: str) -> Measure:
    """The measure of that name, known or not; look-alike and length-controlled forms say so."""
    if name in MEASURES:
        return MEASURES[name]
    for ending, said in (("_matched", "look-alikes only"), ("_length_controlled", "equal length")):
        if name.endswith(ending):
            plain = measure_of(name.removesuffix(ending))
            return plain._replace(title=f"{plain.title}, {said}")
    title = name.replace("_", " ")
    return Measure(f"{title[:1].upper()}{title[1:]}", "")


def figure(value: float, unit: str) -> str:
    """A figure for people: shares in percent."""
    if unit == "share":
        return f"{100 * value:.1f}{PERCENT}"
    return f"{value:.1f}" if abs(value) >= 10 or unit == "chrF" else f"{value:.3f}"


def with_interval(found: Measurement) -> dict[str, str]:
    """A measurement's value and its interval, as the cells of a table print them."""
    value = figure(found.value, found.unit)
    ends = [figure(end, found.unit).removesuffix(PERCENT) for end in (found.low, found.high)]
    return {"value": value, "interval": "" if found.low == found.high else " to ".join(ends)}


def p_value(value: float) -> str:
    """0.012, or < 0.001: smaller ones say no more."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def source_in_words(source: str) -> str:
    """Who judged: a program is said to be one."""
    if source == SCRIPTED:
        return "scripted (a program, no person)"
    return {"chat": "people on the chat page", "api": "people, through the API"}.get(source, source)


def signed(value: float, digits: int) -> str:
    """A difference with its sign; a minus is one, and nothing is never lost."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def count_of(number: int, what: str) -> str:
    """1 document, 2 documents."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds % 60):02d} s"


def size(count: float) -> str:
    """Bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def joined(names: Sequence[str]) -> str:
    """one, two and three."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
