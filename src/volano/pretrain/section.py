"""What a user may set of tokenizer, packing and pre-training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.core.errors import RecipeError
from volano.core.recipe import Count, Runtime, Section, Switch, problem_at
from volano.model.config import DecoderConfig
from volano.model.shape import DEEPEST, shape_for, shape_of_depth
from volano.pretrain.curriculum import CurriculumSection, TierSection, checked_shares
from volano.text.curriculum import Curriculum
from volano.train.section import TrainSection

FORMS = ("hf", "gguf")  # of a base: FORM:PATH
Chat = Literal["kept", "ours"]
MixedBy = Literal["kind", "source"]
Start = Literal["random", "bigrams", "induction"]


class TokenizerSection(Section):
    """How text becomes tokens."""

    vocabulary: Count = Field(
        default=4096,
        ge=261,
        description="Tokens, special ones included; at least 261 (every byte and five special "
        "tokens). Source: docs/log.md for models of 1–2M parameters.",
    )
    kinds: list[str] = Field(
        default=[],
        description="Kinds of document to learn from (function, topic, code …); empty: all.",
    )
    sample_bytes: Count = Field(
        default=32_000_000,
        ge=1,
        description="Bytes of text to learn from, spread evenly over the corpus where it is "
        "larger. Source: merges of a small vocabulary settle within some 10 MB.",
    )


class PackSection(Section):
    """How documents become rows. Made from the pre-training section by `packing`."""

    context: int = Field(default=128, ge=2, description="Positions per row, in tokens.")
    kinds: list[str] = Field(default=[], description="Kinds of document to pack; empty: all.")
    by: MixedBy = Field(default="kind", description="What sets kinds apart.")
    tiers: list[TierSection] = Field(default=[], description="Documents that share no row.")


class ModelSection(Section):
    """The size of the model by one dial, parameters or depth; its shape follows from it."""

    parameters: Count | None = Field(
        default=1_400_000,
        ge=1,
        description="Trainable parameters, embedding included; the nearest sensible shape is taken "
        "(model/shape.py). Empty where `depth` is given. Source: docs/log.md.",
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        le=DEEPEST,
        description="Layers, in place of `parameters`: width is 8 · depth² in steps of 64 (128 at "
        "4 layers, 512 at 8, 2,048 at 16), heads of 64, feed-forward 3 × width. Source: "
        "model/shape.py.",
    )
    context: int = Field(
        default=128, ge=2, description="Tokens that the model sees at once; rows are this long."
    )
    tied: Switch = Field(
        default=True,
        description="One matrix for embedding and head. Off adds vocabulary × width parameters and "
        "no work per token: better per token where the vocabulary is small (docs/log.md).",
    )

    @model_validator(mode="before")
    @classmethod
    def _depth_takes_the_place_of_parameters(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("depth") is not None:
            return {"parameters": None, **values}
        return values

    @model_validator(mode="after")
    def _one_dial(self) -> Self:
        if (self.parameters is None) == (self.depth is None):
            count = "both are" if self.depth is not None else "neither is"
            raise ValueError(
                f"parameters and depth each decide the shape, and {count} given. Set one of them"
            )
        return self

    def shape(self, vocabulary: int) -> DecoderConfig:
        """The shape that the model takes. Raises RecipeError where none fits."""
        if self.depth is not None:
            shape = shape_of_depth(self.depth, vocabulary, self.context)
        else:
            assert self.parameters is not None, "the section has one of the two dials"
            shape = shape_for(self.parameters, vocabulary, self.context)
        return replace(shape, tied=self.tied)


class PretrainSection(TrainSection):
    """A base model from nothing: its size, its data, and how it is trained."""

    model: ModelSection = Field(default=ModelSection(), description="The size of the model.")
    start: Start = Field(
        default="random",
        description="Weights before the first step. `bigrams`: embedding and head from the counted "
        "bigrams of the rows trained on (pretrain/bigrams.py); `induction`: these, and a head that "
        "sees what followed an earlier occurrence of a token (pretrain/induction.py). Both need "
        "`model.tied: off`, the second at least two layers. Source: docs/log.md.",
    )
    tokens: Count = Field(
        default=2_500_000,
        ge=1,
        description="Tokens to train on, over all epochs; rounded to whole steps. Never depends on "
        "the machine.",
    )
    mixture: dict[str, float] = Field(
        default={},
        description="Share of tokens by kind of document, such as {function: 0.9, topic: 0.1}; "
        "kinds left out are not read. Empty: each kind by its size.",
    )
    mixture_by: MixedBy = Field(
        default="kind",
        description="What the mixture and those of the stages name: kinds of document, or sources.",
    )
    curriculum: CurriculumSection | None = Field(
        default=None,
        description="What is read when: an order, stages, an anneal on the best data "
        "(docs/curriculum.md).",
    )
    z_loss: float = Field(
        default=0.0,
        ge=0,
        description="Weight in the loss of the squared logarithm of what the softmax divides by, "
        "which holds logits near 0 in long runs; 0: none. Source: Chowdhery et al. 2022 (PaLM) "
        "take 0.0001.",
    )
    evaluate_documents: int = Field(
        default=100,
        ge=0,
        description="Held-out documents whose bits per byte are measured while training; 0: none.",
    )
    weights: Literal["last", "best"] = Field(
        default="last",
        description="Which are the result: those after the last step, or those of the evaluation "
        "with the fewest bits per byte of held-out text; see `evaluate_steps`.",
    )
    evaluate_by: Literal["kind", "source"] = Field(
        default="kind",
        description="Bits per byte are told for each kind of held-out document, or each source.",
    )
    milestones: list[float] = Field(
        default=[0, 0.01, 0.1, 0.5, 1],
        description="Fractions of the steps at which the model goes on with the prompts, to be "
        "read in `volano show`; empty: never.",
    )
    milestone_prompts: list[str] = Field(
        default=[],
        description="What it goes on with; empty: the beginnings of three held-out documents.",
    )
    milestone_tokens: int = Field(
        default=32,
        ge=1,
        description="Tokens that it goes on for, drawn with the same random numbers each time.",
    )

    @model_validator(mode="after")
    def _bigrams_need_two_matrices(self) -> Self:
        if self.start != "random" and self.model.tied:
            raise ValueError(
                f"start: {self.start} sets embedding and head apart, and they are tied. "
                "Set model.tied: off, or start: random"
            )
        return self

    @model_validator(mode="after")
    def _best_needs_evaluations(self) -> Self:
        if self.weights == "best" and not (self.evaluate_steps and self.evaluate_documents):
            what = "the best of one evaluation is the last"
            raise problem_at(("weights",), what, "Set evaluate_steps and evaluate_documents.")
        return self

    @model_validator(mode="after")
    def _curriculum_fits(self) -> Self:
        curriculum = self.curriculum
        staged = curriculum is not None and bool(curriculum.stages)
        if staged and self.mixture:
            what = "shares are given here and in curriculum.stages"
            raise problem_at(("mixture",), what, "Leave one of the two out.")
        if self.mixture_by != "kind" and not (staged or self.mixture):
            what = f"no mixture that names a {self.mixture_by}"
            raise problem_at(("mixture_by",), what, "Set mixture or curriculum.stages.")
        if curriculum is not None and curriculum.anneal is not None:
            falls = self.schedule == "wsd" and self.decay_fraction > 0
            if curriculum.anneal.fraction is None and not falls:
                what = "value missing: only the rates of schedule: wsd have a decay to go with"
                raise problem_at(("curriculum", "anneal", "fraction"), what, "Set the fraction.")
        return self

    @field_validator("mixture")
    @classmethod
    def _shares(cls, values: dict[str, float]) -> dict[str, float]:
        return checked_shares(values, may_be_empty=True)

    @field_validator("milestones")
    @classmethod
    def _milestones_are_fractions(cls, values: list[float]) -> list[float]:
        for value in values:
            if not 0 <= value <= 1:
                raise ValueError(
                    f"a milestone is a fraction of the steps, from 0 to 1, not {value}"
                )
        return values

    def packing(self) -> PackSection:
        """The settings of the packing step that this section needs."""
        kinds = {kind for kind, share in self.mixture.items() if share > 0}
        tiers: list[TierSection] = []
        if self.curriculum is not None:
            kinds |= self.curriculum.kinds()
            tiers = self.curriculum.tiers()
        return PackSection(
            context=self.model.context, kinds=sorted(kinds), by=self.mixture_by, tiers=tiers
        )

    def reading(self) -> Curriculum | None:
        """What is read when, as the stream takes it; None: nothing changes over the run."""
        if self.curriculum is None:
            return None
        return self.curriculum.plain(decay_fraction=self.decay_fraction)

    def check_weights(self, held_out_documents: int) -> None:
        """Raise RecipeError where the best weights are asked for and no text could tell them."""
        if self.weights == "best" and not held_out_documents:
            raise RecipeError(
                "nothing is held out, so no evaluation tells which weights are the best",
                "pretrain.weights",
                "Hold documents out, such as with collect.held_out_fraction=0.1, or set "
                "weights=last.",
            )

    def check_start(self, vocabulary: int) -> None:
        """Raise RecipeError where the model has no room for what it is to begin with."""
        if self.start == "induction" and self.model.shape(vocabulary).layers < 2:
            raise RecipeError(
                "an induction head takes two layers, and the model has one",
                "pretrain.start",
                "Set start=bigrams, or a model of more parameters.",
            )

    @property
    def steps(self) -> int:
        """Training steps, at least one."""
        return max(1, round(self.tokens / (self.batch_rows * self.model.context)))


class ImportSection(Section):
    """A finished checkpoint in place of pre-training; its files, not their path, bear identity."""

    path: Annotated[str, Runtime] = Field(
        description="Folder of a Hugging Face checkpoint (config.json, safetensors, "
        "tokenizer.json), or a GGUF file."
    )
    form: Literal["hf", "gguf"] = Field(default="hf", description="What lies at the path.")
    chat: Chat = Field(
        default="kept",
        description="Chat format: that of the checkpoint's own template where it has one, or ours.",
    )

    @classmethod
    def of(cls, base: str, chat: Chat = "kept") -> Self:
        """The section of a recipe's `base: hf:PATH` or `gguf:PATH`.

        Raises RecipeError for any other form.
        """
        form, _, path = base.partition(":")
        if form not in FORMS or not path:
            remedy = "Write it as hf:PATH, a folder, or as gguf:PATH, a file."
            raise RecipeError(f"cannot read '{base}'", "base", remedy)
        return cls(path=path, form="gguf" if form == "gguf" else "hf", chat=chat)
