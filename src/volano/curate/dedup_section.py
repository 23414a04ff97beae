"""What a user may set of deduplication (docs/dedup.md): what counts as a copy, and which stays."""

from typing import Literal, Self

from pydantic import Field, model_validator

from volano.core.recipe import Count, Section, Switch, problem_at
from volano.curate.quality_section import EXEMPT, FINEWEB
from volano.curate.semantic_section import SemanticSection


class MinHashSection(Section):
    """Near-duplicates: which documents count as one."""

    permutations: int = Field(
        default=112, ge=1, le=1024, description="Places of a signature. " + FINEWEB
    )
    bands: int = Field(
        default=14,
        ge=1,
        description="Bands of the signature; documents that agree in one whole band are candidates."
        " With 112 places, half of the pairs of similarity 0.68 are found. `volano dedup curve` "
        "shows what other numbers find. " + FINEWEB,
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
    verify: Switch = Field(
        default=False,
        description="on: the similarity of candidates is that of their shingles themselves, not "
        "the estimate from signatures. While it runs the shingles take some three times the text "
        "on disk.",
    )

    @model_validator(mode="after")
    def _bands_divide_permutations(self) -> Self:
        places, bands = self.permutations, self.bands
        if places % bands:
            divisors = [each for each in range(1, places + 1) if places % each == 0]
            fewer = max((each for each in divisors if each < bands), default=1)
            near = [fewer, *(each for each in divisors if each > bands)][:2]
            rows = max(1, round(places / bands))
            counts = " or ".join(f"{each} bands of {places // each}" for each in near)
            raise problem_at(
                ("bands",),
                f"{places} permutations do not divide into {bands} bands "
                f"({places} / {bands} = {places / bands:.4g})",
                f"Take {counts}, or permutations: {rows * bands} for {bands} bands of {rows}.",
            )
        return self


class CutSection(Section):
    """Lines or paragraphs that stand in the corpus before are cut out of a text."""

    min_words: Count = Field(
        default=8,
        ge=1,
        description="Words from which on a span counts; shorter ones stay, as headings and closing "
        "brackets are the same everywhere and say little by themselves. Default: by judgement.",
    )
    min_copies: Count = Field(
        default=2,
        ge=2,
        description="Times that a span stands in the corpus, twice in one document included, from "
        "which on all but the first are cut. Default: as CCNet (Wenzek et al. 2020) and C4.",
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which a missing line breaks."
    )


class PassageSection(CutSection):
    """Passages that stand in the corpus before, whatever lines they begin and end in."""

    min_words: Count = Field(
        default=50,
        ge=5,
        description="Words between white space from which on a run of words is a copy. "
        "Source: Lee et al. 2022, who count tokens.",
    )


class DedupSection(Section):
    """Of copies one stays: training documents before others, then as `keep` says, then in order
    (docs/dedup.md)."""

    exact: Literal["document", "off"] = Field(
        default="document",
        description="Whether documents that differ in white space only are one document.",
    )
    minhash: MinHashSection | None = Field(
        default=MinHashSection(), description="Near-duplicates; off keeps them."
    )
    keep: Literal["first", "longest", "best_quality", "newest", "oldest", "licence"] = Field(
        default="first",
        description="Which of several copies stays. longest: in bytes; best_quality: with the "
        "highest keep_attribute; newest, oldest: by date; licence: the one named first in "
        "keep_licences. What has no such number, date or licence comes last.",
    )
    keep_attribute: str | None = Field(
        default=None,
        description="For best_quality: the measured number that decides, as GROUP.NAME, such as "
        "gopher_quality.alphabetic_word_fraction.",
    )
    keep_licences: list[str] = Field(
        default=[], description="For licence: names of licences, the preferred one first."
    )
    drop: Literal["copies", "all"] = Field(
        default="copies",
        description="copies: all but the one that stays; all: that one too, as of spam.",
    )
    against: list[str] = Field(
        default=[],
        description="Earlier corpora, by name in the store or by folder: what is a copy of one of "
        "their documents is dropped.",
    )
    semantic: SemanticSection | None = Field(
        default=None,
        description="Documents that say the same in other words; off keeps them. Those of earlier "
        "corpora are not looked at.",
    )
    paragraphs: CutSection | None = Field(
        default=None,
        description="Paragraphs (between lines of white space) that stand in the corpus before are "
        "cut out of the documents left; off leaves them.",
    )
    lines: CutSection | None = Field(
        default=None, description="The same for lines, of what the paragraphs have left."
    )
    passages: PassageSection | None = Field(
        default=None,
        description="The same for runs of words that stand in the corpus before, of what "
        "paragraphs and lines have left: what a suffix array finds (Lee et al. 2022).",
    )
    min_words_left: Count = Field(
        default=20,
        ge=0,
        description="Words that a document must have left where something was cut out of it; with "
        "fewer it is dropped. Default: by judgement.",
    )

    @model_validator(mode="after")
    def _keep_knows_by_what(self) -> Self:
        if self.keep == "best_quality" and self.keep_attribute is None:
            raise ValueError("keep: best_quality needs keep_attribute")
        if self.keep == "licence" and not self.keep_licences:
            raise ValueError("keep: licence needs keep_licences")
        if self.exact == "off" and self.minhash is None and self.against:
            raise ValueError("against needs exact: document or minhash")
        return self

    @property
    def cuts(self) -> bool:
        """Whether anything is cut out of texts."""
        return any(each is not None for each in (self.paragraphs, self.lines, self.passages))


def earlier_input(name: str) -> str:
    """The name under which the step is given an earlier corpus to compare with."""
    return f"earlier.{name}"
