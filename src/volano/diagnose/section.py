"""What a user may set of diagnosis: what has failed, how it is grouped, what is requested."""

from pydantic import Field

from volano.core.recipe import Count, Section, Switch


class DiagnoseSection(Section):
    """From judged answers to findings."""

    low_stars: int = Field(
        default=2,
        ge=1,
        le=4,
        description="An answer has failed if any axis has at most this many stars (of 5).",
    )
    low_chrf: float = Field(
        default=15.0,
        ge=0,
        le=100,
        description="An evaluated answer has failed below this chrF against the truth. Source: "
        "answers that share no content word with the truth stay below it (docs/log.md).",
    )
    min_cases: Count = Field(
        default=20, ge=2, description="Failures that a cluster needs to become a finding."
    )
    max_clusters: int = Field(
        default=8,
        ge=2,
        description="Clusters at most; how many there are is decided by the silhouette.",
    )
    findings: int = Field(
        default=3,
        ge=1,
        description="Findings that data is requested for, the most frequent failures first.",
    )
    records: Count = Field(
        default=4000, ge=1, description="Records at most that one finding asks of the corpus."
    )


class RequestedSection(Section):
    """How the requests of a diagnosis are met."""

    edit_repeats: int = Field(
        default=1, ge=0, description="Times that an edited answer comes among the new records."
    )
    reminders: Count = Field(
        default=1000,
        ge=0,
        description="Questions that alignment is reminded of, at most, for each finding: of a new "
        "form of question, with twice as many former ones, or of the former ones beside new "
        "look-alikes. Source: without them it undoes what fine-tuning has taught (docs/log.md).",
    )
    safety_sets: list[str] = Field(
        default=[],
        description="Sets of the safety data from which look-alikes come where a finding is about "
        "declining; those of `align.safety_sets` if empty.",
    )
    from_corpus: Switch = Field(
        default=True,
        description="Whether the corpus is asked too; off, only edits and choices are learnt from.",
    )
