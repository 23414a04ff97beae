"""What a user may set of the rules on the form of a document: bounds, each with its source."""

from typing import Literal

from pydantic import Field, field_validator

from volano.core.errors import did_you_mean
from volano.core.recipe import Count, Section, Switch
from volano.curate.form_section import (
    FORM_RULES,
    CodeSection,
    GibberishSection,
    RefinedWebSection,
    SentencesSection,
    SpamSection,
)

GOPHER = "Source: Rae et al. 2021 (Gopher), appendix A.1."
TABLE_A1 = "Source: Rae et al. 2021 (Gopher), table A1."
C4_PAPER = "Source: Raffel et al. 2020 (T5), section 2.2."
C4_CODE = "Source: the code that made C4 (TensorFlow Datasets)."
FINEWEB = "Source: Penedo et al. 2024 (FineWeb)."
QUALITY_RULES = (
    "gopher_quality",
    "gopher_repetition",
    "c4",
    "fineweb",
    *FORM_RULES,
)
C4_SWITCHES = ("lorem_ipsum", "curly_brackets")  # statistics that drop at one, unless kept
EXEMPT = "Kinds of document that the filter measures but never drops. Default: program code, "


def at_most(default: float, what: str, source: str) -> float:
    field: float = Field(
        default=default, ge=0, description=f"{what}; documents above it are dropped. {source}"
    )
    return field


def at_least(default: float, what: str, source: str) -> float:
    field: float = Field(
        default=default, ge=0, description=f"{what}; documents below it are dropped. {source}"
    )
    return field


class GopherQualitySection(Section):
    """Bounds on the statistics of text.kernels.quality, where each is defined."""

    min_words: Count = Field(
        default=50, ge=0, description="Words; shorter documents are dropped. " + GOPHER
    )
    max_words: Count = Field(
        default=100_000, ge=1, description="Words; longer documents are dropped. " + GOPHER
    )
    min_mean_word_characters: float = at_least(3.0, "Characters per word", GOPHER)
    max_mean_word_characters: float = at_most(10.0, "Characters per word", GOPHER)
    max_hash_word_ratio: float = at_most(0.1, '"#" per word', GOPHER)
    max_ellipsis_word_ratio: float = at_most(0.1, "Ellipses per word", GOPHER)
    max_bullet_line_fraction: float = at_most(
        0.9, "Fraction of lines that begin with a bullet", GOPHER
    )
    max_ellipsis_line_fraction: float = at_most(
        0.3, "Fraction of lines that end in an ellipsis", GOPHER
    )
    min_alphabetic_word_fraction: float = at_least(
        0.8, "Fraction of words with at least one letter", GOPHER
    )
    min_stop_words: int = Field(
        default=2,
        ge=0,
        le=8,
        description="How many of eight English stop words must occur. " + GOPHER,
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "as the rules describe prose."
    )


class GopherRepetitionSection(Section):
    """Bounds on the statistics of text.kernels.repetition, where each is defined."""

    max_duplicate_line_fraction: float = at_most(0.30, "Fraction of lines", TABLE_A1)
    max_duplicate_paragraph_fraction: float = at_most(0.30, "Fraction of paragraphs", TABLE_A1)
    max_duplicate_line_character_fraction: float = at_most(0.20, "Fraction of characters", TABLE_A1)
    max_duplicate_paragraph_character_fraction: float = at_most(
        0.20, "Fraction of characters", TABLE_A1
    )
    top_gram_occurrences: Count = Field(
        default=1,
        ge=1,
        description="Occurrences from which on a run of words counts as frequent. Default: as "
        "datatrove counts, where a run that occurs once is a large part of a short document; 2 "
        "spares short documents that repeat nothing.",
    )
    max_top_2_gram_fraction: float = at_most(0.20, "Fraction of characters", TABLE_A1)
    max_top_3_gram_fraction: float = at_most(0.18, "Fraction of characters", TABLE_A1)
    max_top_4_gram_fraction: float = at_most(0.16, "Fraction of characters", TABLE_A1)
    max_duplicate_5_gram_fraction: float = at_most(0.15, "Fraction of characters", TABLE_A1)
    max_duplicate_6_gram_fraction: float = at_most(0.14, "Fraction of characters", TABLE_A1)
    max_duplicate_7_gram_fraction: float = at_most(0.13, "Fraction of characters", TABLE_A1)
    max_duplicate_8_gram_fraction: float = at_most(0.12, "Fraction of characters", TABLE_A1)
    max_duplicate_9_gram_fraction: float = at_most(0.11, "Fraction of characters", TABLE_A1)
    max_duplicate_10_gram_fraction: float = at_most(0.10, "Fraction of characters", TABLE_A1)
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which repeats itself by nature."
    )


class C4Section(Section):
    """What a line must be to stay (statistics of text.kernels.sentences), and what of the document.

    It changes the text: lines that fail are gone, and what judges after it sees what is left.
    """

    min_sentences: Count = Field(
        default=5,
        ge=0,
        description="Sentences in the lines that stay; documents with fewer are dropped. "
        + C4_PAPER,
    )
    terminal_punctuation: Switch = Field(
        default=True,
        description="Whether only lines stay that end in . ! ? \" or '. FineWeb leaves this out. "
        + C4_PAPER,
    )
    min_line_words: int = Field(
        default=3, ge=0, description="Words; lines with fewer go. " + C4_PAPER
    )
    max_word_characters: Count = Field(
        default=1000, ge=1, description="Characters; lines with a longer word go. " + C4_CODE
    )
    citations: Literal["remove", "keep"] = Field(
        default="remove",
        description="What becomes of marks such as [1], [edit] and [citation needed]. " + C4_CODE,
    )
    javascript_lines: Literal["remove", "keep"] = Field(
        default="remove", description="Lines that name JavaScript. " + C4_PAPER
    )
    policy_lines: Literal["remove", "keep"] = Field(
        default="remove",
        description="Lines that name cookies, terms of use or a privacy policy. " + C4_CODE,
    )
    lorem_ipsum: Literal["drop", "keep"] = Field(
        default="drop", description="Documents that hold “lorem ipsum”. " + C4_PAPER
    )
    curly_brackets: Literal["drop", "keep"] = Field(
        default="drop", description="Documents with a “{” in a line. " + C4_PAPER
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "whose lines are no sentences."
    )


class FineWebSection(Section):
    """Bounds on the statistics of text.kernels.lines, where each is defined."""

    min_terminal_line_fraction: float = at_least(
        0.12, "Fraction of lines that end a sentence", FINEWEB
    )
    max_short_line_fraction: float = at_most(0.67, "Fraction of short lines", FINEWEB)
    short_line_characters: Count = Field(
        default=30, ge=0, description="Characters up to which a line is short. " + FINEWEB
    )
    max_copied_line_character_fraction: float = at_most(
        0.01, "Fraction of characters in lines seen before in the document", FINEWEB
    )
    max_newline_word_ratio: float = at_most(0.3, "Line breaks per word", FINEWEB)
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "whose lines are no sentences."
    )


class QualitySection(Section):
    """Which sets of rules a document must pass."""

    rules: list[str] = Field(
        default=["gopher_quality", "gopher_repetition"],
        description=f"Sets of rules, which judge in the order given: {', '.join(QUALITY_RULES)}.",
    )
    words: Literal["english", "spaces"] = Field(
        default="english",
        description="What a word is. english: as spaCy's English tokenizer splits, which parts "
        "punctuation and “do|n't”, and on which the bounds of the papers were set; spaces: what "
        "stands between white space, in any language that has it, and faster.",
    )
    gopher_quality: GopherQualitySection = Field(
        default=GopherQualitySection(), description="Bounds of the rules gopher_quality."
    )
    gopher_repetition: GopherRepetitionSection = Field(
        default=GopherRepetitionSection(), description="Bounds of the rules gopher_repetition."
    )
    c4: C4Section = Field(default=C4Section(), description="Bounds of the rules c4.")
    fineweb: FineWebSection = Field(
        default=FineWebSection(), description="Bounds of the rules fineweb."
    )
    refinedweb: RefinedWebSection = Field(
        default=RefinedWebSection(), description="Bounds of the rules refinedweb."
    )
    sentences: SentencesSection = Field(
        default=SentencesSection(), description="Bounds of the rules sentences."
    )
    code: CodeSection = Field(default=CodeSection(), description="Bounds of the rules code.")
    spam: SpamSection = Field(default=SpamSection(), description="Bounds of the rules spam.")
    gibberish: GibberishSection = Field(
        default=GibberishSection(), description="Bounds of the rules gibberish."
    )

    def without_effect(self) -> list[str]:
        """Rules whose bounds somebody has set, and which do not judge. An identity names the bounds
        of all rules, so a recipe asks this, and no section refuses it."""
        return [
            rule
            for rule in QUALITY_RULES
            if rule in self.model_fields_set and rule not in self.rules
        ]

    @field_validator("rules")
    @classmethod
    def _rules_areknown_names(cls, rules: list[str]) -> list[str]:
        if len(set(rules)) < len(rules):
            raise ValueError("a set of rules is named twice")
        return known_names(rules, QUALITY_RULES, "rule")


def known_names(names: list[str], known: tuple[str, ...], what: str) -> list[str]:
    """The names, or ValueError for one that is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} '{name}'. {did_you_mean(name, known)}")
    return names
