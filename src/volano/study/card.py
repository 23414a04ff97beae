"""The model card of a released checkpoint: what it is, what went into it, how it was judged.

Written from the artifacts alone, so that nothing in it can be out of date; what has not been
measured is said to be not measured. In the form that Hugging Face reads (YAML, then Markdown).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus
from volano.core.mixture import origins_read
from volano.core.origin import origin_of
from volano.core.report import Measurement
from volano.evaluate.verdict import Verdict, verdict_of

CORPORA = ("documents", "conversations", "preferences")
STAGE = "aligned"
SHOWN = {
    "conversation_bits": "bits per byte of held-out answers",
    "conversation_chrf": "chrF against held-out answers",
    "bits_per_byte": "bits per byte, held out",
    "choice_pmi": "four-way choice (PMI)",
    "answer_chrf": "chrF of answers against the truth",
    "answers_end": "answers that end",
    "refusal_unsafe": "unsafe requests refused",
    "answered_safe": "safe requests answered",
}
MOST_ROWS = 60
MIN_LANGUAGE_SHARE = 0.01


def model_card(name: str, inputs: Mapping[str, Artifact]) -> str:
    """The card, from the released checkpoint's inputs: checkpoint, report, gate, corpora."""
    corpora = {key: inputs[key].corpus() for key in CORPORA if key in inputs}
    licences = _total(corpora, "licences")
    parts = [
        _front_matter(name, corpora),
        f"# {name}\n\n{_what(inputs)}",
        f"## Evaluation\n\n{_evaluation(inputs)}",
        f"## Gate\n\n{_gate(inputs)}",
        f"## Data\n\n{_data(corpora)}",
        f"## Personal data\n\n{_personal_data(corpora)}",
        "## Toxicity\n\nNot measured.",
        f"## Licences\n\n{_table(['licence', 'records'], licences)}",
        f"## Sources\n\n{_table(['source', 'records'], _total(corpora, 'sources'))}",
        f"## Lineage\n\n{_lineage(inputs)}",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(name: str, corpora: Mapping[str, Corpus]) -> str:
    languages = sorted(_languages(corpora)) or ["en"]
    listed = "\n".join(f"- {language}" for language in languages)
    return (
        f"---\nlanguage:\n{listed}\nlicense: other\nlicense_name: mixed\n"
        f"library_name: transformers\nmodel_name: {name}\ntags:\n- volano\n---"
    )


def _what(inputs: Mapping[str, Artifact]) -> str:
    checkpoint = inputs["checkpoint"]
    return (
        f"A causal language model made by Volano from the artifacts below. Weights: "
        f"`{checkpoint.name}` ({checkpoint.digest[:12]}). It answers in the form of its chat "
        "template, greedily unless asked otherwise, and is wrong often: see the evaluation."
        f"{_origin(checkpoint)}"
    )


def _origin(checkpoint: Artifact) -> str:
    origin = origin_of(checkpoint.folder)
    if origin is None:
        return ""
    name = origin.get("name") or origin["file"]
    terms = f"under {origin['licence']}" if origin["licence"] else "whose licence it does not state"
    return (
        f"\n\nIt was not trained from nothing: it began as `{name}`, {terms}, and what that "
        "model had seen is not known here."
    )


def _evaluation(inputs: Mapping[str, Artifact]) -> str:
    if "report" not in inputs:
        return "Not evaluated."
    report = inputs["report"].report()
    rows = []
    for task, title in SHOWN.items():
        found = report.find(task, STAGE)
        if found is not None:
            rows.append((title, _figure(found), str(found.n)))
    return _rows(["on held-out items", "value (95 % interval)", "n"], rows)


def _figure(found: Measurement) -> str:
    if found.unit == "share":
        low, high = 100 * found.low, 100 * found.high
        return f"{100 * found.value:.1f} % ({low:.1f} to {high:.1f})"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _gate(inputs: Mapping[str, Artifact]) -> str:
    if "gate" not in inputs:
        return "The first version: there was none to be better than."
    verdict: Verdict = verdict_of(inputs["gate"].report().extra)
    rows = []
    for test in verdict.tests:
        if "p_value" in test:
            limit = f"p = {test['p_value']:.2g}"
        else:
            limit = f"at worst {test['bound']:+.4f}, margin {-test['margin']:.4f}"
        passed = "passed" if test["passed"] else "not passed"
        name = test.get("title", test["name"])
        rows.append((name, f"{test['difference']:+.4f}", limit, str(test["n"]), passed))
    table = _rows(["test", "difference to the former version", "", "n", ""], rows)
    return f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.\n\n{table}"


def _data(corpora: Mapping[str, Corpus]) -> str:
    rows = []
    for key, corpus in corpora.items():
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in corpus.manifest["kinds"].items())
        size = f"{corpus.manifest['text_bytes'] / 1e6:.1f} MB"
        rows.append((key, f"{len(corpus):,}", size, kinds))
    return _rows(["data", "records", "text", "kinds"], rows)


def _personal_data(corpora: Mapping[str, Corpus]) -> str:
    documents = corpora.get("documents")
    if documents is None or "pii" not in documents.groups():
        return "Not looked for: the data did not pass through curation."
    table = documents.attributes("pii")
    kinds = [name for name in table.column_names if name not in {"id", "spans"}]
    found = {
        kind: int(pc.sum(table[kind]).as_py() or 0)
        for kind in kinds
        if str(table.schema.field(kind).type).startswith(("int", "uint"))
    }
    rows = [
        (kind, f"{count:,}", f"{1e4 * count / max(table.num_rows, 1):.2f}")
        for kind, count in found.items()
    ]
    return "Found by rule in the collected documents, and replaced before training:\n\n" + _rows(
        ["kind", "found", "per 10,000 documents"], rows
    )


def _languages(corpora: Mapping[str, Corpus]) -> set[str]:
    """Languages of at least one kept document in a hundred: short texts are often misjudged."""
    documents = corpora.get("documents")
    if documents is None or "language" not in documents.groups():
        return set()
    kept = documents.to_arrow(["language.language"])["language.language"].to_pylist()
    counts = Counter(each for each in kept if each)
    return {name for name, count in counts.items() if count >= MIN_LANGUAGE_SHARE * len(kept)}


def _lineage(inputs: Mapping[str, Artifact]) -> str:
    rows = [
        (key, each.name, each.fingerprint[:12], each.digest[:12]) for key, each in inputs.items()
    ]
    return _rows(["input", "artifact", "fingerprint", "content"], rows)


def _total(corpora: Mapping[str, Corpus], group: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for corpus in corpora.values():
        counts.update(origins_read(corpus)[group])
    return dict(counts.most_common())


def _table(columns: list[str], counts: Mapping[str, int]) -> str:
    rows: list[tuple[Any, ...]] = [(name, f"{count:,}") for name, count in counts.items()]
    more = len(rows) - MOST_ROWS
    shown = rows[:MOST_ROWS] + ([(f"and {more} more", "")] if more > 0 else [])
    return _rows(columns, shown)


def _rows(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
