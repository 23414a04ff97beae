"""What a user may set of the mixture (docs/mixture.md): how much of what training reads."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.core.errors import did_you_mean
from volano.core.recipe import Count, Section

NAMES = ("source", "kind", "licence", "package", "domain", "language", "bucket")
NEEDS = {"language": "language", "bucket": "perplexity"}  # name → the section that measures it
LARGEST_SUM = 1 + 1e-9  # of shares; 0.1 + 0.2 + 0.7 is above 1 in floating point
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class MixSection(Section):
    """How often training reads the documents of each group (docs/mixture.md).

    Weighed in bytes of text, as tokens are known only to a tokenizer. Nothing is dropped by it.
    """

    by: str = Field(
        default="source",
        description=f"What makes a group: {', '.join(NAMES)}, or an attribute that is text, such "
        "as language.language. domain is the host of the address, bucket that of the perplexity.",
    )
    weights: dict[str, Weight] = Field(
        default={},
        description="Group → factor on its natural share; 1 for groups that are not named, 0 "
        "leaves one out. Names with dots stand in braces: mix.weights={example.org: 2}.",
    )
    shares: dict[str, Share] = Field(
        default={},
        description="Group → its part of all bytes, such as {code: 0.3}; all other groups divide "
        "what remains.",
    )
    others: Literal["keep", "drop"] = Field(
        default="keep",
        description="Groups named in neither weights nor shares: keep, by their natural share, or "
        "drop.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Shares are as size^(1/temperature): 1 natural, the higher the more even. "
        "XLM has 2 for its languages (Conneau & Lample 2019: α = 0.5), mT5 10/3 (Xue et al. 2021: "
        "α = 0.3).",
    )
    max_epochs: float = Field(
        default=4.0,
        ge=1,
        allow_inf_nan=False,
        description="How often a group is read at most; what it lacks goes to the others. Source: "
        "up to four epochs are almost as good as new text (Muennighoff et al. 2023).",
    )
    size_epochs: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Size of the whole, in epochs over the groups that take part: 1 is as many "
        "bytes as they hold.",
    )
    size_bytes: Count | None = Field(
        default=None, ge=1, description="Size of the whole in bytes, in place of size_epochs."
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Decides which documents make up the fraction of an epoch.",
    )

    @field_validator("by")
    @classmethod
    def _name_is_known(cls, by: str) -> str:
        if "." not in by and by not in NAMES:
            raise ValueError(f"documents have no '{by}'. {did_you_mean(by, NAMES).rstrip('.')}")
        return by

    @model_validator(mode="after")
    def _amounts_are_possible(self) -> Self:
        both = sorted(self.weights.keys() & self.shares.keys())
        if both:
            raise ValueError(f"'{both[0]}' stands in weights and in shares")
        total = sum(self.shares.values())
        if total > LARGEST_SUM:
            added = " + ".join(f"{share:g}" for share in self.shares.values())
            raise ValueError(f"shares are {added} = {total:g}, more than 1")
        if self.size_bytes is not None and self.size_epochs != 1:
            raise ValueError("size_epochs and size_bytes both say how much; leave one out")
        if self.size_epochs > self.max_epochs:
            raise ValueError(
                f"size_epochs {self.size_epochs:g} needs each group more than max_epochs "
                f"{self.max_epochs:g} times"
            )
        return self
