"""What a user may have planted among collected documents."""

from typing import Self

from pydantic import Field, model_validator

from volano.core.recipe import Count, Section


class PlantSection(Section):
    """What is planted among the collected documents, for an experiment on what becomes of it.

    Of training documents alone: what is held out stays as it was collected.
    """

    seed: int = Field(
        default=1,
        ge=0,
        description="Of what is drawn: apart from the recipe's seed, so that the trials of an "
        "ablation share what was planted.",
    )
    copies: list[int] = Field(
        default=[1, 10, 100],
        min_length=1,
        description="How often planted documents and canaries occur in all: one group for each "
        "number. Documents of the group 1 are only marked, to compare with.",
    )
    documents: Count = Field(
        default=0, ge=0, description="Documents of each group that are given exact copies."
    )
    min_characters: Count = Field(
        default=600, ge=1, description="Length of the documents that are copied, at least."
    )
    max_characters: Count = Field(default=1500, ge=1, description="And at most.")
    canaries: Count = Field(
        default=0,
        ge=0,
        description="Made-up people of each group whose e-mail address or telephone number is "
        "written at the end of so many documents.",
    )
    shuffled: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the documents whose words are put in random order: a sabotage, to "
        "see that an ablation finds it.",
    )

    @model_validator(mode="after")
    def _groups_are_numbers_of_copies(self) -> Self:
        if min(self.copies) < 1:
            raise ValueError("copies below 1")
        if len(set(self.copies)) < len(self.copies):
            raise ValueError("copies has a number twice")
        if self.min_characters > self.max_characters:
            raise ValueError("min_characters is above max_characters")
        return self
