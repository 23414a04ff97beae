"""What a user may set of the order in which a base model reads, and of what it reads at the end."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.core.recipe import Section, Switch, problem_at
from volano.text.curriculum import Anneal, Curriculum, Order, Stage

LENGTH = "length"  # the one attribute that every corpus has: bytes of a document's text
DECILES = [share / 10 for share in range(1, 10)]


class OrderSection(Section):
    """Rows by an attribute, in every epoch of a kind anew. Which rows are read does not change."""

    by: str = Field(
        description="An attribute beside the text, such as gopher_quality.words, or `length`: the "
        "bytes of a document. A row has the mean over its tokens."
    )
    direction: Literal["ascending", "descending"] = Field(
        default="ascending", description="Whether low or high values come first."
    )
    window: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Fraction of an epoch's rows within which the order is random, so that "
        "batches stay mixed; the last window is smaller where they do not fill the epoch.",
    )


class StageSection(Section):
    """One stage of the run: its shares of kinds, and where it ends."""

    until: float = Field(gt=0, le=1, description="Fraction of the steps at which it ends.")
    mixture: dict[str, float] = Field(
        description="Share of tokens by kind, as `pretrain.mixture`; kinds left out are not read."
    )

    @field_validator("mixture")
    @classmethod
    def _shares(cls, values: dict[str, float]) -> dict[str, float]:
        return checked_shares(values, may_be_empty=False)


class AnnealSection(Section):
    """The end of the run reads the best of the data alone, each kind's own best by an attribute."""

    by: str = Field(description="The attribute, as that of the order.")
    prefer: Literal["highest", "lowest"] = Field(
        default="highest", description="Which values are the good ones."
    )
    best: float = Field(
        default=0.2, gt=0, lt=1, description="Share of each kind's text that is read in it."
    )
    fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Fraction of the steps. Empty: the `decay_fraction`, in which `wsd` falls. "
        "Source: Hu et al. 2024 (MiniCPM), section 5.",
    )
    max_epochs: float = Field(
        default=4.0,
        gt=0,
        description="How often the best text is read at most, over the whole run; more is refused. "
        "Source: Muennighoff et al. 2023.",
    )


class CurriculumSection(Section):
    """What is read when. Each part is off where it is left out; they may be combined."""

    order: OrderSection | None = Field(default=None, description="Rows by an attribute.")
    stages: list[StageSection] = Field(
        default=[],
        description="Mixtures one behind the other, each with `until` and `mixture`, in the place "
        "of `pretrain.mixture`; the last is until 1.",
    )
    anneal: AnnealSection | None = Field(default=None, description="The best data at the end.")

    @model_validator(mode="after")
    def _stages_rise_to_the_end(self) -> Self:
        before = 0.0
        for place, stage in enumerate(self.stages):
            keys = ("stages", place, "until")
            if stage.until <= before:
                what = f"a stage until {stage.until:g} behind one until {before:g}"
                raise problem_at(keys, what, "Let the stages end one behind the other.")
            before = stage.until
        if self.stages and before < 1:
            what = f"no stage behind {before:g} of the steps"
            raise problem_at(("stages", len(self.stages) - 1, "until"), what, "Let it end at 1.")
        return self

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if self.order is None and not self.stages and self.anneal is None:
            raise ValueError("nothing is set in it. Set order, stages or anneal, or leave it out")
        return self

    def kinds(self) -> set[str]:
        """The kinds that its stages read; empty without stages."""
        return {kind for stage in self.stages for kind, share in stage.mixture.items() if share > 0}

    def tiers(self) -> list["TierSection"]:
        """How documents are packed, so that a row holds documents of like value."""
        found = []
        if self.order is not None:
            found.append(TierSection(by=self.order.by, shares=DECILES))
        if self.anneal is not None:
            lowest = self.anneal.prefer == "lowest"
            found.append(TierSection(by=self.anneal.by, lowest=lowest, shares=[self.anneal.best]))
        return found

    def plain(self, *, decay_fraction: float) -> Curriculum:
        """As the stream reads it."""
        order, anneal = None, None
        if self.order is not None:
            falling = self.order.direction == "descending"
            order = Order(self.order.by, descending=falling, window=self.order.window)
        if self.anneal is not None:
            anneal = Anneal(
                self.anneal.by,
                best=self.anneal.best,
                fraction=self.anneal.fraction or decay_fraction,
                lowest=self.anneal.prefer == "lowest",
                max_epochs=self.anneal.max_epochs,
            )
        stages = tuple(Stage(each.until, each.mixture) for each in self.stages)
        return Curriculum(order=order, stages=stages, anneal=anneal)


class TierSection(Section):
    """Documents on two sides of a cut share no row."""

    by: str = Field(description="The attribute.")
    lowest: Switch = Field(default=False, description="Whether low values are the good ones.")
    shares: list[float] = Field(description="Shares of each kind's text: the best of it by `by`.")


def checked_shares(values: Mapping[str, float], *, may_be_empty: bool) -> dict[str, float]:
    """The shares of a mixture. Raises ValueError for one below 0, and where none is above it."""
    for kind, share in values.items():
        if not share >= 0:
            raise ValueError(f"a share is 0 or more, not {share:g} of '{kind}'")
    if (values or not may_be_empty) and not any(values.values()):
        raise ValueError("no kind has a share above 0")
    return dict(values)
