"""What a user may set of a turn, with the scripted people who stand in for real ones, and of an
ablation."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from volano.collect.section import CollectSection
from volano.core.recipe import Count, Runtime, Section, Switch
from volano.core.release import PRODUCTION
from volano.diagnose.section import RequestedSection
from volano.evaluate.section import (
    ContinuationsSection,
    DomainsSection,
    LeaksSection,
    MemorisationSection,
    Task,
)
from volano.finetune.section import MixtureSection
from volano.text.functions import QUESTIONS

FIELDS = ("name", "answer")  # what a question may take from a function's documentation
FIELD = re.compile(r"\{(\w*)\}")


Metric = Literal["bits_per_byte", "memorisation", "leaks", "toxicity"]
Match = Literal["tokens", "compute", "documents"]


class AskSection(Section):
    """One way in which people ask: questions with the answer that the documentation gives."""

    prompts: list[str] = Field(
        min_length=1,
        description="Questions with `{name}` (qualified name) or `{answer}` (first sentence of the "
        "documentation) in them; each function gets one of them.",
    )
    wanted: str = Field(description="The right answer, from the same fields.")

    @model_validator(mode="after")
    def _fields_are_known(self) -> Self:
        for text in [*self.prompts, self.wanted]:
            for name in FIELD.findall(text):
                if name not in FIELDS:
                    raise ValueError(f"unknown field '{{{name}}}' in '{text}'")
            if not FIELD.search(text):
                raise ValueError(f"'{text}' takes no field of the documentation")
        return self


class TurnSection(RequestedSection, MixtureSection):
    """How the next version is made of what was asked for.

    It is fine-tuned on the requested conversations beside some of the former ones, then aligned as
    the former version was, on the requested preferences too.
    """

    start: Literal["sft", "base"] = Field(
        default="sft",
        description="Which checkpoint is trained further: the former version's `sft` learns little "
        "besides the new, `base` learns everything again.",
    )
    epochs: float = Field(default=1.0, gt=0, description="Times over the conversations.")
    safe_reminders: Switch = Field(
        default=True,
        description="Whether alignment is reminded of the harmless requests that the former "
        "version answered. Source: without it the next version refuses more of everything "
        "(docs/log.md).",
    )
    release: str = Field(
        default=PRODUCTION,
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="The alias that moves when the gate lets the new version pass.",
    )

    def requested(self) -> RequestedSection:
        """The settings of the steps that meet the requests."""
        return RequestedSection(
            **{name: getattr(self, name) for name in RequestedSection.model_fields}
        )

    def mixture(self) -> MixtureSection:
        """The settings of the step that joins new and former conversations."""
        return MixtureSection(**{name: getattr(self, name) for name in MixtureSection.model_fields})


class UsersSection(Section):
    """Scripted people who chat with the aligned model over HTTP and rate its answers.

    They stand in for real ones where there are none yet, and are labelled `scripted` wherever they
    are shown. Of functions they know one rule: the closer an answer is to the documentation, the
    more stars; a harmless request is rated by whether it is answered.
    """

    functions: Count = Field(
        default=500,
        ge=1,
        description="Functions that are asked about, two thirds of them of the training split and "
        "the others of the pool that no version has seen; each in every way of `asks`.",
    )
    asks: list[AskSection] = Field(
        default=[
            AskSection(prompts=list(QUESTIONS), wanted="{answer}"),
            AskSection(
                prompts=[
                    "Which function does this: {answer}",
                    "Which function do I need for this? {answer}",
                    "I am looking for a function. {answer} Which function is it?",
                ],
                wanted="{name}",
            ),
        ],
        description="The ways in which people ask.",
    )
    safe_requests: Count = Field(
        default=0,
        ge=0,
        description="Harmless requests of the safety set that are asked too, and rated by whether "
        "they are answered.",
    )
    edits: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Fraction of badly rated answers for which the right one is written down.",
    )
    max_answer_tokens: int = Field(default=48, ge=1, description="Tokens of an answer.")
    clients: Annotated[int, Runtime] = Field(
        default=8, ge=1, le=64, description="People who chat at the same time."
    )
    database_url: Annotated[str, Runtime] = Field(
        default="", description="Where they leave their feedback; as `feedback.database_url`."
    )


class AblateSection(Section):
    """A question about data that the recipe answers with `volano ablate`. Bears no identity: what
    is measured has sections of its own."""

    question: str = Field(default="", description="In one sentence, for the report.")
    axes: list[str] = Field(
        default=[],
        description="Keys with the values to compare, as on the command line, such as "
        "`curate.dedup.minhash=on,off`; the first is compared with. Those given on the command "
        "line take their place.",
    )
    arms: dict[str, list[str]] = Field(
        default={},
        description="In the place of axes, or beside axes that are sizes: name of an arm → its "
        "settings, one or a list, such as {all: curate.quality=off, rules: [curate.dedup=off]}.",
    )
    seeds: int = Field(default=3, description="Models trained of each arm.")
    match: Match = Field(
        default="tokens",
        description="What arms have in common: tokens (less text is read more often), compute "
        "(larger models read fewer tokens), documents (each reads its text as often as the first).",
    )
    metrics: list[Metric] = Field(
        default=["bits_per_byte"],
        description="bits_per_byte: of held-out documents, by domain; memorisation: documents that "
        "a model says by heart, by how often they occurred before curation; leaks: planted "
        "canaries that come back (plant.canaries); toxicity: of continuations.",
    )
    tasks: list[Task] = Field(
        default=[],
        description="Tasks of the evaluation that are metrics too. With them, or with an axis in "
        "finetune or align, all stages of the recipe are trained.",
    )
    bits_per_byte: DomainsSection = Field(
        default=DomainsSection(), description="Which documents it is measured on."
    )
    reference: CollectSection | None = Field(
        default=None,
        description="A neutral text that no arm is trained on; bits per byte of it stand beside "
        "those of the recipe's own held-out documents.",
    )
    memorisation: MemorisationSection = Field(
        default=MemorisationSection(), description="What counts as said by heart."
    )
    leaks: LeaksSection = Field(default=LeaksSection(), description="How secrets are asked for.")
    toxicity: ContinuationsSection = Field(
        default=ContinuationsSection(), description="What is continued."
    )
    at_once: Annotated[int, Runtime] = Field(
        default=0,
        ge=0,
        description="Trials that are trained at the same time, in processes that share the cores; "
        "1 trains them one after another with all of them. 0 measures which is faster "
        "(docs/ablation.md).",
    )
    signal: Switch = Field(
        default=True,
        description="Whether the first arm is trained on half of the tokens too, with two seeds, "
        "to see which metrics training moves at all.",
    )

    @field_validator("arms", mode="before")
    @classmethod
    def _one_setting_as_a_list(cls, arms: object) -> object:
        if not isinstance(arms, dict):
            return arms
        return {name: [each] if isinstance(each, str) else each for name, each in arms.items()}
