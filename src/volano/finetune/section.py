"""What a user may set of supervised fine-tuning."""

from typing import Any

from pydantic import Field

from volano.core.recipe import Count, Section
from volano.train.section import AdaptedSection

FUNCTIONS = "functions"  # the word in `data` that stands for the curated function documents


class ConversationsSection(Section):
    """What is asked and answered. Made from the fine-tuning section by `conversations`."""

    data: str | list[str] = Field(
        default=FUNCTIONS,
        description="`functions` asks about each documented function of the curated corpus; a path "
        "or a list of paths and globs names JSONL files (.gz, .zst) whose lines hold `messages`. "
        "Of files, the content bears identity and not the path.",
    )
    held_out: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Fraction of the files' conversations that is never trained on, drawn by hash "
        "of the first question; those that ask nearly the same go with it. Evaluation asks them "
        "(task conversations). `functions` have held-out documents of their own. 0: none.",
    )
    function_conversations: Count = Field(
        default=0,
        ge=0,
        description="Functions at most that are asked about, drawn by hash; 0: all.",
    )
    min_answer_words: int = Field(
        default=3,
        ge=1,
        description="Words; functions with a shorter first sentence are left out. Source: at two "
        "words the documentation of this machine says 'Deprecated.' or repeats the name.",
    )
    max_answer_words: int = Field(
        default=40,
        ge=1,
        description="Words; functions with a longer first sentence are left out. Source: 97 % of "
        "first sentences on this machine are shorter; most others are tables or lists.",
    )

    @property
    def names(self) -> list[str]:
        """`data` as a list."""
        return [self.data] if isinstance(self.data, str) else self.data

    @property
    def paths(self) -> list[str]:
        """The users' files among `data`."""
        return [name for name in self.names if name != FUNCTIONS]

    def identity(self) -> dict[str, Any]:
        """As of any section, but without paths: the step's listing knows what the files hold."""
        return super().identity() | {"data": [name for name in self.names if name == FUNCTIONS]}


class FinetuneSection(ConversationsSection, AdaptedSection):
    """Learning to answer: from which conversations, and how it is trained."""

    epochs: float = Field(
        default=1.0, gt=0, description="Times over the conversations; 0.5 reads half of them."
    )
    learning_rate: float = Field(
        default=0.004, gt=0, description="AdamW's rate at its peak. Source: docs/log.md."
    )
    matrix_learning_rate: float = Field(
        default=0.015, gt=0, description="Muon's rate at its peak. Source: docs/log.md."
    )

    def conversations(self) -> ConversationsSection:
        """The settings of the step that makes the conversations."""
        return ConversationsSection(
            **{name: getattr(self, name) for name in ConversationsSection.model_fields}
        )


class MixtureSection(Section):
    """What a later version learns from beside the requested conversations."""

    replay: Count = Field(
        default=8000,
        ge=0,
        description="Conversations of the former version that come again, so that what it could is "
        "not forgotten; drawn by hash. More than there are: all of them.",
    )
