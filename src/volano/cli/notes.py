"""What a user should know of an artifact without asking: one line each, behind its stage."""

from typing import Any

KEPT_SHARE = 0.5  # of documents or bytes; curation that leaves less is told
# Of a model's rows that its tokenizer has tokens for. Vocabularies are padded, though not so far.
TOKENIZER_SHARE = 0.75


def notes(artifact: Any, called: str = "") -> list[str]:
    """What a user should know of an artifact, `called` so or by its name, without asking: records
    that could not be read, files that were passed over, ids that were changed, a filter that had
    nothing to compare with, a curation that dropped most, where a mixture is not as it was wanted,
    text that a run has read more often than that allows, or than is of use, and a tokenizer that a
    model may not have had.
    """
    if artifact.kind == "checkpoint":
        bill = artifact.bill()
        return _over_limit(bill) or _reread(bill) or _unlike_its_tokenizer(bill)
    if artifact.kind != "corpus":
        return []
    called = called or artifact.name
    corpus = artifact.corpus()
    found = []
    quarantined = corpus.manifest.get("quarantined", 0)
    if quarantined:
        first = corpus.quarantine().slice(0, 1).to_pylist()[0]
        found.append(
            f"{quarantined:,} record{'' if quarantined == 1 else 's'} in quarantine, first "
            f"{first['where']}: {first['reason']}; all: volano show {called}"
        )
    passed_over = corpus.manifest.get("passed_over", {})
    if passed_over:
        first = ", ".join(f"{count:,} {what}" for what, count in list(passed_over.items())[:3])
        rest = sum(list(passed_over.values())[3:])
        found.append(f"passed over: {first}" + (f", {rest:,} others" if rest else ""))
    found += corpus.manifest.get("notes", [])  # what kinds of file were not read
    renamed = corpus.manifest.get("repeated_ids", 0)
    if renamed:
        what = "document bears" if renamed == 1 else "documents bear"
        found.append(f"{renamed:,} {what} an id that was taken, and got #2, #3 … behind it")
    if not corpus.manifest["records"] and artifact.name.endswith("/held_out"):
        found.append(
            "nothing is held out: no test split, so nothing is decontaminated against; "
            "where plain texts are given, -s collect.held_out_fraction=0.1 (in a recipe: that key) "
            "holds out a tenth of them"
        )
    return found + _mostly_dropped(artifact, called) + mixture_notes(artifact)


def _over_limit(bill: dict[str, Any]) -> list[str]:
    most, limit = bill.get("most_group_epochs", 0), bill.get("max_epochs", 0)
    if most <= limit:
        return []
    return [
        f"mixture: the run goes over all that was packed more than once, and over some of its text "
        f"{most:.1f} times, where curate.mix.max_epochs is {limit:g}: lower pretrain.tokens"
    ]


def _reread(bill: dict[str, Any]) -> list[str]:
    from volano.pretrain.rereading import epochs_in, rereading_note

    note = rereading_note(epochs_in(bill))
    return [] if note is None else [note]


def _unlike_its_tokenizer(bill: dict[str, Any]) -> list[str]:
    tokens, rows = bill.get("tokenizer_tokens", 0), bill.get("model_rows", 0)
    sizes = f"its tokenizer has {tokens:,} tokens and its model {rows:,} rows"
    asked = "is it the tokenizer of this model?"
    if tokens > rows:
        what = "row was" if tokens - rows == 1 else "rows were"
        return [f"{sizes}, so {tokens - rows:,} {what} added that it has not learnt: {asked}"]
    if tokens < TOKENIZER_SHARE * rows:
        return [f"{sizes}, more than padding explains: {asked}"]
    return []


def _mostly_dropped(artifact: Any, called: str) -> list[str]:
    funnel = artifact.corpus().manifest.get("funnel")
    if not funnel:
        return []
    given, left = funnel[0], funnel[-1]
    short = [each for each in ("documents", "bytes") if left[each] < KEPT_SHARE * given[each]]
    if not short:
        return []
    unit = short[0]
    worst = max(funnel[1:], key=lambda row: _lost(row, unit))
    kept = f"{left[unit]:,} of {given[unit]:,} {unit} ({left[unit] / given[unit]:.0%})"
    lost = f"'{worst['filter']}' dropped most, {_lost(worst, unit):,}"
    return [f"keeps {kept}; {lost}; why: volano show {called}"]


def _lost(row: dict[str, Any], unit: str) -> int:
    cut = row.get("bytes_cut", 0) if unit == "bytes" else 0
    return int(row[f"{unit}_dropped"]) + int(cut)


def mixture_notes(artifact: Any) -> list[str]:
    """Where the mixture of a corpus is not as it was wanted."""
    from volano.core.mixture import Mixture

    mixture = Mixture.of(artifact.corpus())
    return [] if mixture is None else [f"mixture: {note}" for note in mixture.notes]
