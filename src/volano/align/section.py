"""What a user may set of alignment."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from volano.core.recipe import Count, Section, problem_at
from volano.train.section import AdaptedSection

FUNCTIONS, SAFETY = "functions", "safety"  # the words in `data`; anything else is a path


class PreferencesSection(Section):
    """Which pairs a model is aligned on. Made from the alignment section by `preferences`."""

    data: str | list[str] = Field(
        default=[FUNCTIONS, SAFETY],
        description="`functions` makes pairs from the curated function documents, `safety` from "
        "the training half of the safety set; paths and globs name JSONL files (.gz, .zst) whose "
        "lines hold prompt, chosen and rejected. Of files, the content bears identity and not the "
        "path.",
    )
    function_pairs: Count = Field(
        default=700,
        ge=1,
        description="Pairs at most of each kind (another function's documentation; truncated), "
        "after balancing by length. Source: docs/log.md; they keep a model from forgetting to end.",
    )

    safety_sets: list[str] = Field(
        default=["natural"],
        description="Which sets of the safety prompts make pairs; empty: all. Source: pairs of the "
        "`matched` set too cost twice the time and refuse no more (docs/log.md).",
    )

    safety_pairs: Count = Field(
        default=0,
        ge=0,
        description="Pairs of an unsafe prompt and a safe one at most, drawn by hash; 0: all.",
    )

    safe_fraction: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Fraction of the set's safe prompts that make pairs: they teach to answer all "
        "the same. A few beside all the unsafe ones make an over-cautious model, none one that "
        "refuses everything (docs/log.md).",
    )

    safety_answers: Literal["own", "written"] = Field(
        default="own",
        description="Whose answers stand against the refusals of safety pairs: the fine-tuned "
        "model's `own`, greedy and without loops, or those `written` for the set. Source: with "
        "written ones a small model answers safe prompts in loops (docs/log.md).",
    )

    reminders: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the conversations that the model was fine-tuned on, drawn by "
        "hash, that stand beside the pairs: nothing is preferred in them, and `nll_weight` holds "
        "up what they taught. `turn.reminders` are others. Source: docs/log.md; the four-way "
        "choice fell by 30 points without them, by 19 with a fifth.",
    )

    @property
    def needs_model(self) -> bool:
        """Whether making the pairs takes the fine-tuned model."""
        return SAFETY in self.names and self.safety_answers == "own"

    @property
    def names(self) -> list[str]:
        """`data` as a list."""
        return [self.data] if isinstance(self.data, str) else self.data

    @property
    def paths(self) -> list[str]:
        """The users' files among `data`."""
        return [name for name in self.names if name not in (FUNCTIONS, SAFETY)]

    def identity(self) -> dict[str, Any]:
        """As of any section, but without paths: the step's listing knows what the files hold."""
        words = [name for name in self.names if name in (FUNCTIONS, SAFETY)]
        return super().identity() | {"data": words}


class AlignSection(PreferencesSection, AdaptedSection):
    """Alignment by preferences: on which pairs, and how it is trained."""

    in_stages: ClassVar[bool] = False

    method: Literal["dpo"] = Field(
        default="dpo", description="`dpo`: Rafailov et al. 2023, without a reward model."
    )
    beta: float = Field(
        default=0.05,
        gt=0,
        description="Reward per nat of departure from the reference. Source: docs/log.md; at "
        "0.02 more safe prompts are refused or answered in loops.",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Fraction of pairs believed to be ranked the wrong way round. Source: Mitchell "
        "2023 (cDPO).",
    )
    nll_weight: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the chosen response's nats per token beside the DPO loss. Source: "
        "Pang et al. 2024; at 0.2 nothing is refused and few answers end (docs/log.md).",
    )
    epochs: float = Field(default=1.0, gt=0, description="Times over the pairs.")
    safety_repeats: int = Field(
        default=3,
        ge=1,
        description="Times that a safety pair comes in each epoch: there are few of them. Source: "
        "two refuse less of what is unsafe, four cost more of all else (docs/log.md).",
    )
    safety_word_dropout: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Fraction of a safety prompt's words left out in each repetition but the "
        "first. Source: docs/log.md; refusals then carry over to prompts not seen.",
    )
    learning_rate: float = Field(
        default=0.002, gt=0, description="AdamW's rate at its peak. Source: docs/log.md."
    )
    matrix_learning_rate: float = Field(
        default=0.005, gt=0, description="Muon's rate at its peak. Source: docs/log.md."
    )
    batch_rows: int = Field(default=16, ge=1, description="Pairs per step, over all micro-batches.")

    def preferences(self) -> PreferencesSection:
        """The settings of the step that makes the pairs."""
        return PreferencesSection(
            **{name: getattr(self, name) for name in PreferencesSection.model_fields}
        )

    @model_validator(mode="after")
    def _batches_of_many_widths_are_not_compiled(self) -> Self:
        if self.compile:
            raise problem_at(
                ("compile",),
                "is of rows of one width, and pairs are as wide as the longest of their batch",
                "Leave it out.",
            )
        return self
