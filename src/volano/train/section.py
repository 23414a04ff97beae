"""What a user may set of any training run; each phase adds its own and takes other defaults.

Whatever changes the weights bears identity. How often a checkpoint is kept for resuming and how
many threads compute do not: a resumed run gives the same bytes, another thread count gives others
in the last digits only.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from volano.core.errors import RecipeError
from volano.core.recipe import Runtime, Section, Switch, problem_at

MOST_CONTEXT = 1024  # tokens of a row where none are asked for: attention grows with their square
# An adapter learns by AdamW at a rate of its own, without decay: these are not read for it.
OF_WHOLE_MODEL = (
    "optimiser",
    "learning_rate",
    "head_learning_rate",
    "matrix_learning_rate",
    "momentum",
    "weight_decay",
)


class ParallelSection(Section):
    """How many processes share a run, by axis (docs/parallel.md). The batches are the same for any
    number, and the weights but for rounding."""

    data: int = Field(
        default=0,
        ge=0,
        description="Replicas, each with its share of a batch; 0: as many as torchrun has started "
        "beyond the other axes, 1 without it.",
    )
    shard: int = Field(
        default=1,
        ge=1,
        description="Processes that share rows as replicas do, and split weights, gradients and "
        "optimiser (FSDP2).",
    )
    tensor: int = Field(
        default=1,
        ge=1,
        description="Processes that split each layer by heads and neurons; a divisor of both.",
    )
    pipeline: int = Field(
        default=1,
        ge=1,
        description="Stages of layers (1F1B); no more than `accumulate` has micro-batches.",
    )


class TrainSection(Section):
    """The settings that the one training loop reads."""

    in_stages: ClassVar[bool] = True  # whether what is learnt can go through a pipeline

    batch_rows: int = Field(
        default=32, ge=1, description="Rows of `context` tokens per step, over all micro-batches."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Micro-batches per step; more need less memory and give the same step.",
    )
    optimiser: Literal["muon", "adamw"] = Field(
        default="muon",
        description="`muon` for matrices with AdamW for embeddings and norms, or `adamw` for all.",
    )
    learning_rate: float = Field(
        default=0.008, gt=0, description="AdamW's rate at its peak. Source: docs/log.md."
    )
    head_learning_rate: float = Field(
        default=0.008,
        gt=0,
        description="AdamW's rate at its peak for an untied head; a tied one has `learning_rate`. "
        "Source: docs/log.md.",
    )
    matrix_learning_rate: float = Field(
        default=0.03, gt=0, description="Muon's rate at its peak. Source: docs/log.md."
    )
    beta1: float = Field(
        default=0.9, ge=0, lt=1, description="AdamW's decay of the gradient's mean."
    )
    beta2: float = Field(
        default=0.95,
        ge=0,
        lt=1,
        description="AdamW's decay of the gradient's square. Source: Brown et al. 2020 (GPT-3).",
    )
    momentum: float = Field(
        default=0.95, ge=0, lt=1, description="Muon's momentum. Source: Jordan et al. 2024."
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="Share of a matrix taken off per step and unit of its learning rate; norms and "
        "embeddings keep theirs. 0: pre-training here sees no token twice.",
    )
    clip_norm: float = Field(
        default=1.0, ge=0, description="Largest norm of the whole gradient; 0 leaves it as it is."
    )
    schedule: Literal["wsd", "cosine", "constant"] = Field(
        default="wsd",
        description="After warm-up: constant, then linear to zero (`wsd`); half a cosine to zero; "
        "constant.",
    )
    warmup_fraction: float = Field(
        default=0.02, ge=0, le=1, description="Fraction of the steps in which rates rise from zero."
    )
    decay_fraction: float = Field(
        default=0.4, ge=0, le=1, description="Fraction of the steps in which `wsd` falls to zero."
    )
    precision: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        default="auto",
        description="Type of the matmuls; weights stay float32. `auto`: bfloat16 where the "
        "device is faster in it: CUDA's that have it, processors with AMX, and AMD's with AVX-512 "
        "bf16. `float64`: for proofs.",
    )
    compile: Switch = Field(
        default=False,
        description="Compile the training step: faster after 10–40 s, needs a C++ compiler.",
    )
    spike_deviations: float = Field(
        default=8.0,
        ge=0,
        description="A loss this many robust standard deviations above the median of those before "
        "it is a spike (train/guard.py); 0: none is. Source: docs/training.md.",
    )
    spike_window: int = Field(
        default=64, ge=2, description="Steps before it that a loss is compared with."
    )
    on_spike: Literal["record", "rewind"] = Field(
        default="record",
        description="`record` notes step and documents. `rewind` also leaves the batch out, and at "
        "the third on end takes the weights back to those kept last, every `rewind_steps`; a "
        "loss that is no finite number is then a spike too, and does not stop the run. Source: "
        "Chowdhery et al. 2022 (PaLM), section 5.1.",
    )
    rewind_steps: int = Field(
        default=50,
        ge=1,
        description="With `on_spike: rewind`: steps between weights kept in memory to go back to.",
    )
    diverged_factor: float = Field(
        default=1.5,
        ge=0,
        description="The run stops where the median loss of `spike_window` steps is this many "
        "times the best such median and more than 1 above it, or where it is worse than guessing; "
        "0: it never does.",
    )
    evaluate_steps: int = Field(
        default=0, ge=0, description="Steps between evaluations while training; 0: only at the end."
    )
    watts_per_core: Annotated[float, Runtime] = Field(
        default=12.0,
        ge=0,
        description="Power of a busy core, for an estimate of energy where no counter can be read. "
        "Source: Lannelongue et al. 2021 (Green Algorithms), a core of any model.",
    )
    watts_per_device: Annotated[float, Runtime] = Field(
        default=400.0,
        ge=0,
        description="Power of a busy CUDA device, where its own counter cannot be read. Source: "
        "the data sheet of NVIDIA's A100.",
    )
    checkpoint_steps: Annotated[int, Runtime] = Field(
        default=1000, ge=1, description="Steps between states kept for resuming."
    )
    checkpoint_seconds: Annotated[float, Runtime] = Field(
        default=60.0, ge=0, description="Seconds after which a state is kept whatever the step."
    )
    checkpoints: Annotated[int, Runtime] = Field(
        default=2,
        ge=1,
        description="States kept for resuming: the last so many. The best by evaluation and the "
        "last from before the loss began to rise are kept besides.",
    )
    threads: Annotated[int, Runtime] = Field(
        default=0,
        ge=0,
        description="Threads that compute; 0 takes as many as the recipe's `workers`, shared out "
        "evenly where several processes run.",
    )
    activations: Annotated[Literal["kept", "recomputed"], Runtime] = Field(
        default="kept",
        description="What a layer computes on the way forward is kept for the way back, or made "
        "again from what went into it: less memory, a third more work, the same bytes.",
    )
    parallel: Annotated[ParallelSection, Runtime] = Field(
        default=ParallelSection(), description="How many processes share the run."
    )

    @model_validator(mode="after")
    def _compiled_or_recomputed(self) -> Self:
        if self.compile and self.activations == "recomputed":
            raise ValueError(
                "compile: on decides by itself what is kept for the way back. "
                "Set activations: kept, or compile: off"
            )
        return self

    @property
    def adapter_learning_rate(self) -> float:
        """AdamW's rate at its peak for an adapter, where there is one."""
        return 0.0


class LoraSection(Section):
    """An adapter: thin matrices beside the projections learn, and the model itself is frozen."""

    rank: int = Field(default=16, ge=1, description="Rows of the thin matrices.")
    alpha: float = Field(
        default=32.0, gt=0, description="What an adapter adds is alpha / rank times its product."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Fraction of an adapter's inputs left out in training."
    )
    targets: list[
        Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    ] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Projections that get one. Source: Dettmers et al. 2023 (QLoRA), figure 2: all "
        "are needed to match training the whole model.",
    )
    learning_rate: float = Field(
        default=0.001,
        gt=0,
        description="AdamW's rate at its peak, of the adapter; the rates of the whole model are "
        "then not read. Source: docs/log.md; at 0.0003 an epoch teaches two thirds as much.",
    )


class AdaptedSection(TrainSection):
    """Training that begins with a finished model: whole, or by an adapter."""

    lora: LoraSection | None = Field(
        default=None, description="Train an adapter in the place of the whole model; off: all."
    )
    context: int = Field(
        default=0,
        ge=0,
        description="Tokens of a row, and of the longest example that is read; 0: as many as the "
        "model reads, at most 1,024.",
    )

    @model_validator(mode="after")
    def _nothing_is_measured_meanwhile(self) -> Self:
        if self.evaluate_steps:
            raise problem_at(
                ("evaluate_steps",),
                "is of pre-training; here nothing is held out to be measured meanwhile",
                "Leave it out: the section evaluate measures what comes out.",
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_set_that_an_adapter_does_not_read(self) -> Self:
        for name in OF_WHOLE_MODEL:
            if self.lora is not None and name in self.model_fields_set:
                raise problem_at(
                    (name,),
                    "is of the whole model, and with lora an adapter is trained",
                    "Set lora.learning_rate, or leave this out.",
                )
        return self

    @property
    def adapter_learning_rate(self) -> float:
        """AdamW's rate at its peak for an adapter, where there is one."""
        return 0.0 if self.lora is None else self.lora.learning_rate

    def context_of(self, model_context: int) -> int:
        """Tokens of a row. Raises RecipeError where the model reads fewer than are asked for."""
        if self.context > model_context:
            raise RecipeError(
                f"{self.context:,} tokens a row, and the model reads {model_context:,}",
                "context",
                f"Set at most {model_context:,}, or 0.",
            )
        return self.context or min(model_context, MOST_CONTEXT)
