"""What a user may set of curation. Left out, a filter works as its paper says."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.core.errors import DataError
from volano.core.recipe import Count, Runtime, Section
from volano.curate.boilerplate_section import BoilerplateSection
from volano.curate.dedup_section import DedupSection
from volano.curate.language_codes import LANGUAGES, nearest_language
from volano.curate.learned_section import ClassifierSection, PerplexitySection
from volano.curate.mix_section import NEEDS, MixSection
from volano.curate.quality_section import (
    EXEMPT,
    FINEWEB,
    QualitySection,
    at_most,
    known_names,
)
from volano.text.personal.keyed import key_fingerprint, read_key
from volano.text.personal.model_names import pipeline_version

Fraction = Annotated[float, Field(ge=0, le=1)]
WORD_LISTS = ("profanity", "sexual", "violence")
PII_KINDS = (
    "private_key", "api_key", "crypto_address", "email", "iban", "credit_card", "national_id",
    "phone", "ip_address", "street_address", "person_name",
)  # fmt: skip
KEYED = ("hash", "surrogate")
PII_NOT_BY_DEFAULT = ("street_address", "person_name")


class ParagraphsSection(Section):
    """Paragraphs in other languages are cut; of a text without blank lines, lines. OSCAR tells
    languages line by line (Abadji et al. 2022)."""

    min_characters: Count = Field(
        default=80,
        ge=1,
        description="Shorter paragraphs stay: headings and names look like any language.",
    )
    min_score: Fraction = Field(
        default=0.65,
        description="Probability from which on the language of a paragraph is believed.",
    )
    max_foreign_fraction: Fraction = Field(
        default=0.5,
        description="Part of the characters of paragraphs whose language is believed; a document "
        "of which more is foreign is dropped whole. Default: by judgement.",
    )
    min_words_left: Count = Field(
        default=20,
        ge=0,
        description="Words that a document must have left where paragraphs were cut out of it; "
        "with fewer it is dropped. Default: as for deduplication.",
    )


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
    min_script_fraction: Fraction = Field(
        default=0.1,
        description="Part of the letters that stands in a script of the most likely language; with "
        "less it is not believed, as Russian in Latin letters is most likely something else.",
    )
    paragraphs: ParagraphsSection | None = Field(
        default=None, description="Paragraph by paragraph, foreign ones are cut; off unless set."
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which the model was not trained on."
    )

    @field_validator("keep")
    @classmethod
    def _languages_are_told_apart(cls, codes: list[str]) -> list[str]:
        for code in codes:
            if code not in LANGUAGES:
                meant = nearest_language(code)
                hint = f"Did you mean '{meant}'?" if meant else f"Known: {' '.join(LANGUAGES)}."
                raise ValueError(f"unknown language '{code}'. {hint}")
        return codes


class ToxicitySection(Section):
    """How toxic a document is, by a classifier and by lists of words (docs/toxicity.md).

    A classifier reads passages of some 25 words, and the highest of their probabilities is that of
    the document: one insult in a book is found, and a book of many words is no worse for them.
    """

    action: Literal["measure", "drop"] = Field(
        default="measure",
        description="measure: figures in the attributes, and nothing is dropped; drop: documents "
        "beyond a bound below go.",
    )
    per: Literal["document", "line"] = Field(
        default="document",
        description="document: one passage from min_probability on is enough to drop it; line: "
        "passages end where lines end, and it goes by max_toxic_line_fraction. Lines are never "
        "cut out of a text.",
    )
    model: Annotated[str | None, Runtime] = Field(
        default=None,
        description="Weights of one's own, as `volano classifier train` writes them. What the file "
        "holds bears identity, not where it lies. Default: the weights that come with Volano.",
    )
    neutral: str = Field(
        default="neither", description="The label of the classifier that is not toxic."
    )
    min_probability: dict[str, Fraction] = Field(
        default={"toxic": 0.99},
        description="Label of the classifier, or toxic for all but the neutral one → probability "
        "of a passage from which on it is toxic. Default: set on clean documents, of which one in "
        "a hundred has such a passage, and novels that swear (docs/toxicity.md). Of the label "
        "hate alone there is no good bound: names such as Bill White reach 0.8.",
    )
    max_toxic_line_fraction: float = at_most(
        0.1, "With per: line, the fraction of lines with a toxic passage", "Default: by judgement."
    )
    max_word_fraction: dict[str, Fraction] = Field(
        default=dict.fromkeys(WORD_LISTS, 0.05),
        description=f"List of words ({', '.join(WORD_LISTS)}) → fraction of a document's words; "
        "documents above it are dropped. Default: twice what any document of the Brown corpus has.",
    )
    min_listed_words: Count = Field(
        default=3,
        ge=1,
        description="Words of a list that a document must hold for max_word_fraction to count: "
        "a name such as Dick in a short text is one.",
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which the model was not trained on."
    )

    @field_validator("max_word_fraction")
    @classmethod
    def _lists_areknown_names(cls, bounds: dict[str, Fraction]) -> dict[str, Fraction]:
        known_names(list(bounds), WORD_LISTS, "list")
        return bounds


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
    def _kinds_areknown_names(cls, kinds: list[str]) -> list[str]:
        return known_names(kinds, PII_KINDS, "kind")

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

    against: list[str] | None = Field(
        default=None,
        description="Names of the corpora whose texts are held out. Without: what the recipe holds "
        "out itself.",
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
    """All filters in the order in which they judge: boilerplate, language, quality, toxicity,
    decontaminate, perplexity, classifier, dedup. Then what stays is redacted, and mixed."""

    boilerplate: BoilerplateSection | None = Field(
        default=None, description="Lines that a site repeats, cut out first; off leaves them."
    )
    language: LanguageSection | None = Field(
        default=LanguageSection(), description="Which languages stay; off keeps all."
    )
    quality: QualitySection | None = Field(
        default=QualitySection(), description="Rules on the form of a document; off keeps all."
    )
    toxicity: ToxicitySection | None = Field(
        default=ToxicitySection(),
        description="How toxic a document is, measured unless its action says drop; off measures "
        "nothing.",
    )
    decontaminate: DecontaminateSection | None = Field(
        default=DecontaminateSection(), description="What must not be learnt; off compares nothing."
    )
    perplexity: PerplexitySection | None = Field(
        default=None, description="How expected a document is to an n-gram model of trusted text."
    )
    classifier: ClassifierSection | None = Field(
        default=None, description="How likely a document is of a label that a classifier knows."
    )
    dedup: DedupSection | None = Field(
        default=DedupSection(), description="Copies among what is left; off keeps them."
    )
    pii: PiiSection | None = Field(
        default=PiiSection(), description="Personal data; off neither counts nor replaces it."
    )
    mix: MixSection | None = Field(
        default=None,
        description="How often training reads what is kept; off reads every document once.",
    )

    @model_validator(mode="after")
    def _groups_are_measured(self) -> Self:
        by = self.mix.by if self.mix else ""
        needs = NEEDS.get(by)
        if needs is not None and getattr(self, needs) is None:
            raise ValueError(f"mix.by: {by} needs curate.{needs}, which is off")
        return self

    def decontaminated_against(self, corpora: list[str]) -> Self:
        """The same curation, decontaminated against these where it names none itself."""
        judged = self.decontaminate
        if judged is None or judged.against is not None:
            return self
        named = judged.model_copy(update={"against": corpora})
        return self.model_copy(update={"decontaminate": named})

    def identity(self) -> dict[str, Any]:
        """As of any section; without a mixture, that of a corpus from before there were any."""
        found = super().identity()
        return found if self.mix else {name: found[name] for name in found if name != "mix"}
