"""Which training documents a base model says by heart, by how often they occurred.

A model continues the beginning of a document, and is held to it token by token. Source: Carlini et
al. 2023, Quantifying Memorization Across Neural Language Models: 50 tokens from a prompt of 50.
Documents are those before curation, so that a filter is judged by what it was for: of documents
that occurred 100 times, a model of deduplicated text has seen one.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.report import Measurement, Report
from volano.core.step import Context
from volano.evaluate.section import IN_TRAINING, MemorisationSection
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.stats.intervals import wilson_interval
from volano.text.tokenizer import Tokenizer

MEMORISED = "memorised"
STAGE = "base"
BOUNDS = (1, 2, 10, 100, 1000)  # of a group: occurrences from one to below the next
LEAST_CHARACTERS = 3  # a token has about, at least: shorter texts are not read


class Occurring(NamedTuple):
    """A training document, and how many documents have its text."""

    id: str
    text: str
    occurrences: int


def groups_of(
    texts: Sequence[tuple[str, str]],
    section: MemorisationSection,
    planted: Mapping[str, int] | None = None,
) -> dict[str, list[Occurring]]:
    """Group ("1×", "2× to 9×" …) → documents to ask about, drawn by hash of their ids.

    `texts` are id and text of the training documents before curation. Where some were `planted` (id
    → occurrences), groups are theirs alone.
    """
    by_text: dict[str, list[str]] = defaultdict(list)
    for identity, text in texts:
        by_text[text].append(identity)
    least = LEAST_CHARACTERS * (section.prompt_tokens + section.continued_tokens)
    found: dict[str, list[Occurring]] = defaultdict(list)
    for text, ids in by_text.items():
        if planted is not None:
            chosen = next((each for each in ids if each in planted), None)
            if chosen is not None:
                name = f"{planted[chosen]}×"
                found[name].append(Occurring(chosen, text, planted[chosen]))
        elif len(text) >= least:
            found[_group(len(ids))].append(Occurring(ids[0], text, len(ids)))
    ordered = sorted(found, key=lambda each: found[each][0].occurrences)
    return {
        name: sorted(found[name], key=lambda each: json_digest(each.id))[: section.documents]
        for name in ordered
    }


def _group(occurrences: int) -> str:
    place = max(n for n, least in enumerate(BOUNDS) if occurrences >= least)
    least = BOUNDS[place]
    if place == 0:
        return f"{least}×"
    return (
        f"{least}× to {BOUNDS[place + 1] - 1}×" if place + 1 < len(BOUNDS) else f"{least}× or more"
    )


def measure_memorisation(
    section: MemorisationSection,
    model: Decoder,
    tokenizer: Tokenizer,
    groups: Mapping[str, Sequence[Occurring]],
    context: Context,
    trained: Set[str] = frozenset(),
) -> None:
    """Write the report: per group the share of documents that the model continues verbatim, and how
    many of them are among the texts `trained` on as they are.

    Documents with too few tokens are left out and counted. Raises DataError where the context is
    too short, or no document is long enough.
    """
    whole = section.prompt_tokens + section.continued_tokens
    if model.config.context <= whole:
        raise DataError(
            f"the model reads {model.config.context} tokens, and {whole + 1} are needed",
            "memorisation",
            "Set pretrain.model.context higher.",
        )
    begin = tokenizer.begin_of_text_id
    asked: list[tuple[str, Occurring, list[int]]] = []
    short = 0
    for name, documents in groups.items():
        encoded = tokenizer.encode_batch([each.text for each in documents])
        for document, tokens in zip(documents, encoded, strict=True):
            if len(tokens) < whole:
                short += 1
            else:
                asked.append((name, document, tokens[:whole]))
    if not asked:
        what = f"no document has {whole} tokens"
        raise DataError(what, "memorisation", "Plant longer ones: plant.min_characters.")
    prompts = [[begin, *tokens[: section.prompt_tokens]] for _, _, tokens in asked]
    said = generate(model, prompts, max_new_tokens=section.continued_tokens)
    known, counted, there = Counter[str](), Counter[str](), Counter[str]()
    for (name, document, tokens), each in zip(asked, said, strict=True):
        counted[name] += 1
        there[name] += document.text in trained
        known[name] += each.tokens == tokens[section.prompt_tokens :]
    measurements = [
        Measurement(
            f"{MEMORISED}.{name}",
            STAGE,
            *wilson_interval(known[name], counted[name]),
            unit="share",
        )
        for name in groups
        if counted[name]
    ]
    in_training = {name: [there[name], counted[name]] for name in groups if counted[name]}
    extra = {"too_short": short, IN_TRAINING: in_training}
    Report(tuple(measurements), extra=extra).save(context.folder / "report.json")
    context.bill["documents"] = len(asked)
