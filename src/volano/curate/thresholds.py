"""Which attribute of a curated corpus is held against which bound of its settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from volano.curate.quality_section import QUALITY_RULES

Side = Literal["min", "max"]


@dataclass(frozen=True)
class Bound:
    """A document is dropped below `min`, above `max`. `key` is the setting, as volano recut takes
    it; `drops` is false where the bound only marks."""

    key: str
    side: Side
    value: float
    drops: bool = True


def bounds_of(settings: Mapping[str, Any]) -> dict[tuple[str, str], list[Bound]]:
    """(group, column) of an attribute → the bounds on it, from the settings of the step."""
    found: dict[tuple[str, str], list[Bound]] = {}

    def add(
        group: str, column: str, key: str, side: Side, value: float, drops: bool = True
    ) -> None:
        found.setdefault((group, column), []).append(Bound(key, side, float(value), drops))

    boilerplate = settings.get("boilerplate")
    if boilerplate:
        key = "boilerplate.min_words_left"
        add("boilerplate", "words_left", key, "min", boilerplate["min_words_left"])
    language = settings.get("language")
    if language:
        add("language", "score", "language.min_score", "min", language["min_score"],
            language["uncertain"] == "drop")  # fmt: skip
    quality = settings.get("quality")
    for rule in QUALITY_RULES:
        if quality and rule in quality["rules"]:
            for name, value in quality[rule].items():
                side, _, column = name.partition("_")
                if side == "min" or side == "max":
                    add(rule, column, f"quality.{rule}.{name}", side, value)
    toxicity = settings.get("toxicity")
    if toxicity:
        drops = toxicity["action"] == "drop"
        for label, value in toxicity["min_probability"].items():
            key = "toxicity.min_probability"
            add("toxicity", label, key, "max", value, drops)
        for words, value in toxicity["max_word_fraction"].items():
            add("toxicity", words, "toxicity.max_word_fraction", "max", value, drops)
    held_out = settings.get("decontaminate")
    if held_out:
        key = "decontaminate.ngram_fraction"
        add("decontaminate", "fraction", key, "max", held_out["ngram_fraction"])
    dedup = settings.get("dedup")
    if dedup and dedup.get("minhash"):
        key = "dedup.minhash.min_similarity"
        add("dedup", "similarity", key, "max", dedup["minhash"]["min_similarity"])
    return found
