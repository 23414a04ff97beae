"""What a user may set of feedback as data."""

from typing import Annotated

from pydantic import Field

from volano.core.recipe import Runtime, Section


class FeedbackSection(Section):
    """Which events become data. What the database holds bears identity, and where it lies not."""

    database_url: Annotated[str, Runtime] = Field(
        default="",
        description="A SQLite file, sqlite:///FILE or postgresql://USER@HOST/DATABASE; left out, "
        "feedback.sqlite in the store.",
    )
    sources: list[str] = Field(
        default=[],
        description="Only events from these: chat, api, scripted, or the name of an imported "
        "log; empty takes all.",
    )
    models: list[str] = Field(
        default=[],
        description="Models whose feedback a turn reads beside that of the version it starts from, "
        "by the names that imported logs have for them.",
    )
    since: str | None = Field(
        default=None, description="Only events from this time on, in ISO 8601, UTC if no zone."
    )
    until: str | None = Field(
        default=None, description="Only events before this time, in ISO 8601, UTC if no zone."
    )
