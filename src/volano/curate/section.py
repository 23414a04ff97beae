"""What a user may set of curation. Left out, a filter works as its paper says."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.core.errors import DataError, did_you_mean
from volano.core.recipe import Count, Runtime, Section, Switch
from volano.text.personal.keyed import key_fingerprint, read_key
from volano.text.personal.model_names import pipeline_version

GOPHER = "Source: Rae et al. 2021 (Gopher), appendix A.1."
TABLE_A1 = "Source: Rae et al. 2021 (Gopher), table A1."
FINEWEB = "Source: Penedo et al. 2024 (FineWeb)."
C4_PAPER = "Source: Raffel et al. 2020 (T5), section 2.2."
C4_CODE = "Source: the code that made C4 (TensorFlow Datasets)."
QUALITY_RULES = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
C4_SWITCHES = ("lorem_ipsum", "curly_brackets")  # statistics that drop at one, unless kept
PII_KINDS = (
    "private_key", "api_key", "crypto_address", "email", "iban", "credit_card", "national_id",
    "phone", "ip_address", "street_address", "person_name",
)  # fmt: skip
KEYED = ("hash", "surrogate")
PII_NOT_BY_DEFAULT = ("street_address", "person_name")
EXEMPT = "Kinds of document that the filter measures but never drops. Default: program code, "


def _at_most(default: float, what: str, source: str) -> float:
    field: float = Field(
        default=default, ge=0, description=f"{what}; documents above it are dropped. {source}"
    )
    return field


def _at_least(default: float, what: str, source: str) -> float:
    field: float = Field(
        default=default, ge=0, description=f"{what}; documents below it are dropped. {source}"
    )
    return field


class LanguageSection(Section):
    """Which languages stay, judged by fastText's lid.176."""

    keep: list[str] = Field(
        default=["en"],
        min_length=1,
        description="Languages that stay, as ISO 639 codes such as en or de.",
    )
    min_score: float = Field(
        default=0.65,
        ge=0,
        le=1,
        description="Probability from which on the most likely language is believed. " + FINEWEB,
    )
    uncertain: Literal["keep", "drop"] = Field(
        default="keep",
        description="What becomes of documents whose most likely language is below min_score. "
        "Papers on web text drop them; short technical texts full of names score low in any "
        "language, so the default keeps them and leaves gibberish to the quality rules.",
    )
    characters: Count = Field(
        default=600,
        ge=1,
        description="Characters that are read, from the beginning of a document. Time is in "
        "proportion; more than the default changed no decision on docstrings, but a page that "
        "begins with a menu may need more.",
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which the model was not trained on."
    )


class GopherQualitySection(Section):
    """Bounds on the statistics of text.kernels.quality, where each is defined."""

    min_words: Count = Field(
        default=50, ge=0, description="Words; shorter documents are dropped. " + GOPHER
    )
    max_words: Count = Field(
        default=100_000, ge=1, description="Words; longer documents are dropped. " + GOPHER
    )
    min_mean_word_characters: float = _at_least(3.0, "Characters per word", GOPHER)
    max_mean_word_characters: float = _at_most(10.0, "Characters per word", GOPHER)
    max_hash_word_ratio: float = _at_most(0.1, '"#" per word', GOPHER)
    max_ellipsis_word_ratio: float = _at_most(0.1, "Ellipses per word", GOPHER)
    max_bullet_line_fraction: float = _at_most(
        0.9, "Fraction of lines that begin with a bullet", GOPHER
    )
    max_ellipsis_line_fraction: float = _at_most(
        0.3, "Fraction of lines that end in an ellipsis", GOPHER
    )
    min_alphabetic_word_fraction: float = _at_least(
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

    max_duplicate_line_fraction: float = _at_most(0.30, "Fraction of lines", TABLE_A1)
    max_duplicate_paragraph_fraction: float = _at_most(0.30, "Fraction of paragraphs", TABLE_A1)
    max_duplicate_line_character_fraction: float = _at_most(
        0.20, "Fraction of characters", TABLE_A1
    )
    max_duplicate_paragraph_character_fraction: float = _at_most(
        0.20, "Fraction of characters", TABLE_A1
    )
    top_gram_occurrences: Count = Field(
        default=1,
        ge=1,
        description="Occurrences from which on a run of words counts as frequent. Default: as "
        "datatrove counts, where a run that occurs once is a large part of a short document; 2 "
        "spares short documents that repeat nothing.",
    )
    max_top_2_gram_fraction: float = _at_most(0.20, "Fraction of characters", TABLE_A1)
    max_top_3_gram_fraction: float = _at_most(0.18, "Fraction of characters", TABLE_A1)
    max_top_4_gram_fraction: float = _at_most(0.16, "Fraction of characters", TABLE_A1)
    max_duplicate_5_gram_fraction: float = _at_most(0.15, "Fraction of characters", TABLE_A1)
    max_duplicate_6_gram_fraction: float = _at_most(0.14, "Fraction of characters", TABLE_A1)
    max_duplicate_7_gram_fraction: float = _at_most(0.13, "Fraction of characters", TABLE_A1)
    max_duplicate_8_gram_fraction: float = _at_most(0.12, "Fraction of characters", TABLE_A1)
    max_duplicate_9_gram_fraction: float = _at_most(0.11, "Fraction of characters", TABLE_A1)
    max_duplicate_10_gram_fraction: float = _at_most(0.10, "Fraction of characters", TABLE_A1)
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

    min_terminal_line_fraction: float = _at_least(
        0.12, "Fraction of lines that end a sentence", FINEWEB
    )
    max_short_line_fraction: float = _at_most(0.67, "Fraction of short lines", FINEWEB)
    short_line_characters: Count = Field(
        default=30, ge=0, description="Characters up to which a line is short. " + FINEWEB
    )
    max_copied_line_character_fraction: float = _at_most(
        0.01, "Fraction of characters in lines seen before in the document", FINEWEB
    )
    max_newline_word_ratio: float = _at_most(0.3, "Line breaks per word", FINEWEB)
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

    @field_validator("rules")
    @classmethod
    def _rules_are_known(cls, rules: list[str]) -> list[str]:
        if len(set(rules)) < len(rules):
            raise ValueError("a set of rules is named twice")
        return _known(rules, QUALITY_RULES, "rule")


class MinHashSection(Section):
    """Near-duplicates: which documents count as one."""

    permutations: int = Field(
        default=112, ge=1, le=1024, description="Places of a signature. " + FINEWEB
    )
    bands: int = Field(
        default=14,
        ge=1,
        description="Bands of the signature; documents that agree in one whole band are candidates."
        " With 112 places, half of the pairs of similarity 0.72 are found. " + FINEWEB,
    )
    shingle_words: int = Field(
        default=5, ge=1, le=50, description="Words in a row that are compared as one. " + FINEWEB
    )
    min_similarity: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Estimated Jaccard similarity of their shingles from which on candidates are "
        "near-duplicates; 0 believes the bands alone, as FineWeb does. Default: about where half "
        "of the pairs become candidates.",
    )

    @model_validator(mode="after")
    def _bands_divide_permutations(self) -> Self:
        if self.permutations % self.bands:
            raise ValueError(
                f"{self.permutations} permutations do not divide into {self.bands} bands"
            )
        return self


class DedupSection(Section):
    """Of equal documents the first stays: training documents before others, then in order."""

    exact: Literal["document", "off"] = Field(
        default="document",
        description="Whether documents that differ in white space only are one document.",
    )
    minhash: MinHashSection | None = Field(
        default=MinHashSection(), description="Near-duplicates; off keeps them."
    )


class PiiSection(Section):
    """What becomes of personal data in the documents that stay (docs/pii.md)."""

    action: Literal["replace", "redact", "hash", "surrogate", "off"] = Field(
        default="replace",
        description="replace: a tag such as <EMAIL>; redact: [REDACTED]; hash: a tag with a keyed "
        "hash, the same for the same value; surrogate: a plausible value of nobody, the same for "
        "the same value; off: it stays.",
    )
    kinds: list[str] = Field(
        default=[kind for kind in PII_KINDS if kind not in PII_NOT_BY_DEFAULT],
        description=f"Kinds looked for: {', '.join(PII_KINDS)}. The last two only where they are "
        "named: rules for them also find firms, places and people of whom all the world writes.",
    )
    key: Annotated[str, Runtime] = Field(
        default="env:VOLANO_PII_KEY",
        description="Where hash and surrogate find their secret key: env:NAME, an environment "
        "variable, or file:PATH. The key itself goes nowhere; its fingerprint bears identity.",
    )

    name_model: str | None = Field(
        default=None,
        description="A spaCy pipeline, by folder or package: the persons it recognises count as "
        "person_name too, if that is among the kinds. Needs the extra ner, and much more time.",
    )

    @field_validator("kinds")
    @classmethod
    def _kinds_are_known(cls, kinds: list[str]) -> list[str]:
        return _known(kinds, PII_KINDS, "kind")

    @model_validator(mode="after")
    def _key_is_there(self) -> Self:
        try:  # now, and not after hours of other steps
            self.secret()
        except DataError as failure:
            raise ValueError(f"{failure.what}. {failure.remedy.rstrip('.')}") from None
        return self

    def secret(self) -> bytes | None:
        """The key, where the action needs one. Raises DataError if it is not there."""
        return read_key(self.key) if self.action in KEYED else None

    def identity(self) -> dict[str, Any]:
        """As of any section, and which key and model it is: others make another text."""
        secret = self.secret()
        named = {} if secret is None else {"key_fingerprint": key_fingerprint(secret)}
        if self.name_model is not None:  # wherever it lies
            named["name_model"] = pipeline_version(self.name_model)
        return super().identity() | named


class DecontaminateSection(Section):
    """Documents that hold a held-out text never reach training (see text.overlap)."""

    against: list[str] = Field(
        default=[], description="Names of the corpora whose texts are held out."
    )
    ngram_words: int = Field(
        default=13,
        ge=2,
        le=100,
        description="Words in a row that count as a quotation; shorter held-out texts are compared "
        "whole. Source: Brown et al. 2020 (GPT-3), appendix C.",
    )
    ngram_fraction: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Fraction of a held-out text's runs of ngram_words words; documents that hold "
        "it or more are dropped. GPT-3 drops at one run, which in documentation is any shared "
        "parameter list; PaLM (Chowdhery et al. 2022) takes 0.7 of 8-grams.",
    )
    pair_fraction: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Fraction of a held-out text's pairs of neighbouring words; documents that "
        "hold it or more in one passage are dropped as edited copies. Default: measured on "
        "docstrings, where it finds 99 % of copies with 15 % of their words changed.",
    )


class CurateSection(Section):
    """All filters in the order in which they judge: language, quality, decontaminate, dedup."""

    language: LanguageSection | None = Field(
        default=LanguageSection(), description="Which languages stay; off keeps all."
    )
    quality: QualitySection | None = Field(
        default=QualitySection(), description="Rules on the form of a document; off keeps all."
    )
    decontaminate: DecontaminateSection | None = Field(
        default=DecontaminateSection(), description="What must not be learnt; off compares nothing."
    )
    dedup: DedupSection | None = Field(
        default=DedupSection(), description="Copies among what is left; off keeps them."
    )
    pii: PiiSection | None = Field(
        default=PiiSection(), description="Personal data; off neither counts nor replaces it."
    )


def _known(names: list[str], known: tuple[str, ...], what: str) -> list[str]:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} '{name}'. {did_you_mean(name, known)}")
    return names
