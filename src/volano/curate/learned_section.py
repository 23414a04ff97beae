"""What a user may set of quality as models have learnt it: an n-gram model, and a classifier."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volano.core.recipe import Count, Runtime, Section, problem_at

Fraction = Annotated[float, Field(ge=0, le=1)]
CCNET = "Source: Wenzek et al. 2020 (CCNet), section 3.3."
OWN_MODEL = "What the file holds bears identity, not where it lies."


class PerplexitySection(Section):
    """How expected a document is to an n-gram model of trusted text (docs/quality.md).

    The documents that all filters before it have left are put into three buckets by perplexity:
    head (most like the trusted text), middle and tail.
    """

    model: Annotated[str, Runtime] = Field(
        description="The n-gram model, as `volano ngrams train` writes it. " + OWN_MODEL
    )
    keep: list[Literal["head", "middle", "tail"]] = Field(
        default=["head", "middle"],
        min_length=1,
        description="Buckets that stay; all three only measure.",
    )
    head_fraction: Fraction = Field(
        default=1 / 3,
        description="Fraction of the documents that are the head, if max_head_perplexity is not "
        "given. " + CCNET,
    )
    tail_fraction: Fraction = Field(
        default=1 / 3,
        description="Fraction that are the tail, if max_middle_perplexity is not given. " + CCNET,
    )
    max_head_perplexity: float | None = Field(
        default=None, gt=0, description="Perplexity up to which a document is of the head."
    )
    max_middle_perplexity: float | None = Field(
        default=None, gt=0, description="Perplexity up to which a document is no tail."
    )
    min_perplexity: float | None = Field(
        default=None,
        gt=0,
        description="Documents below it are dropped, whatever their bucket: what is expected all "
        "too well repeats itself, or is a text of the training set.",
    )
    max_perplexity: float | None = Field(
        default=None, gt=0, description="Documents above it are dropped, whatever their bucket."
    )
    exempt_kinds: list[str] = Field(
        default=["code"],
        description="Kinds of document that are not measured and never dropped. Default: program "
        "code, of which a model of prose knows nothing.",
    )

    @model_validator(mode="after")
    def _buckets_are_in_order(self) -> Self:
        if self.head_fraction + self.tail_fraction > 1:
            raise ValueError("head_fraction and tail_fraction are more than all")
        low, high = self.max_head_perplexity, self.max_middle_perplexity
        if (low is None) != (high is None):
            raise ValueError("max_head_perplexity and max_middle_perplexity are given together")
        if low is not None and high is not None and low > high:
            raise ValueError("max_head_perplexity is above max_middle_perplexity")
        return self


class LearnSection(Section):
    """Which collected documents the classifier learns to be wanted; all others are ordinary."""

    kinds: list[str] = Field(default=[], description="Kinds of document that are wanted.")
    sources: list[str] = Field(default=[], description="Sources that are wanted.")
    documents: Count = Field(
        default=20_000, ge=1, description="Documents of each side, at most, drawn by hash."
    )

    @model_validator(mode="after")
    def _something_is_wanted(self) -> Self:
        if not (self.kinds or self.sources):
            raise ValueError("neither kinds nor sources say what is wanted")
        return self


class ClassifierSection(Section):
    """How likely a document is of a label, by a linear classifier (docs/quality.md).

    It judges what the perplexity has left. With neither bound it only measures.
    """

    model: Annotated[str | None, Runtime] = Field(
        default=None,
        description="Weights, as `volano classifier train` writes them. " + OWN_MODEL,
    )
    learn: LearnSection | None = Field(
        default=None,
        description="In the place of `model`: the recipe trains its own on what it has collected.",
    )
    label: str = Field(default="wanted", description="The label of the documents that are wanted.")
    min_probability: Fraction | None = Field(
        default=None, description="Probability of the label below which documents are dropped."
    )
    keep_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Fraction of the documents that stay, those of the highest margin; of "
        "equal ones at its edge all stay. DCLM keeps 0.1 (Li et al. 2024, section 4.4).",
    )
    keep_of: Literal["documents", "bytes"] = Field(
        default="documents",
        description="What keep_fraction is a fraction of. A classifier may like short documents: "
        "the best half of them may be a quarter of the text.",
    )
    exempt_kinds: list[str] = Field(
        default=["code"],
        description="Kinds of document that are not measured and never dropped. Default: program "
        "code, as most classifiers are trained on prose.",
    )

    @model_validator(mode="after")
    def _there_are_weights(self) -> Self:
        if (self.model is None) == (self.learn is None):
            raise ValueError("give either model, a file of weights, or learn")
        if self.model is not None and "label" not in self.model_fields_set:
            raise problem_at(
                ("label",), "is not given", "Name the label of the documents that are wanted."
            )
        return self
