"""The step `feedback`: the events that people agreed to, as a corpus of ratings.

What is scanned is what is written: events that arrive in between belong to the next artifact.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import RecipeError
from volano.core.feedback import from_the_other_side
from volano.core.files import json_digest
from volano.core.records import Rating, table_of
from volano.core.step import Context, Entry, Inputs, Listing, Step
from volano.feedback.database import Database
from volano.feedback.ratings import consenting, rating_of
from volano.feedback.redaction import Redaction
from volano.feedback.section import FeedbackSection
from volano.feedback.selection import Selection


@dataclass(frozen=True)
class FeedbackListing(Listing):
    """The ratings as they were when the database was scanned."""

    ratings: tuple[Rating, ...] = ()
    redacted: int = 0
    without_consent: int = 0


def scan_feedback(section: FeedbackSection) -> FeedbackListing:
    """The events that may be used. Raises RecipeError where no database is named."""
    if not section.database_url:
        raise RecipeError(
            "no database named", "feedback.database_url", "Name one, or run it in a store."
        )
    selection = Selection(since=section.since, until=section.until, sources=tuple(section.sources))
    database = Database.open(section.database_url, create=False)
    try:
        judged, without_consent = consenting(database, selection)
    finally:
        database.close()
    redaction = Redaction()
    ratings = tuple(rating_of(each, redaction) for each in judged)
    digest = json_digest([each.to_row() for each in ratings])
    # The key bears identity and the path does not: one database may move, or become PostgreSQL.
    entry = Entry("feedback", Path(database.where), len(ratings), digest)
    return FeedbackListing(
        (entry,), ratings=ratings, redacted=redaction.spans, without_consent=without_consent
    )


def run_feedback(section: FeedbackSection, inputs: Inputs, context: Context) -> None:
    """Write one rating per event that may become training data, by id.

    Where checkpoints are among the inputs, only feedback on them and on `section.models` counts; a
    comparison with another model is told of theirs.
    """
    listing = context.listing
    if not isinstance(listing, FeedbackListing):
        listing = scan_feedback(section)
    served = {served_as(each) for each in inputs.values() if each.kind == "checkpoint"}
    about = served | set(section.models)
    told = (_told_of(about, each) if served else each for each in listing.ratings)
    ratings = [each for each in told if each is not None]
    write_shard(shard_path(context.folder, "data", 0), table_of(ratings, Rating))
    finish_corpus(context.folder, "rating", {"redacted": listing.redacted})
    # Not in the manifest: feedback that may not be used must not change what is made of the rest.
    context.bill["events_without_consent"] = listing.without_consent


def _told_of(checkpoints: Set[str], rating: Rating) -> Rating | None:
    if rating.checkpoint in checkpoints:
        return rating
    other = from_the_other_side(rating)
    return other if other is not None and other.checkpoint in checkpoints else None


def served_as(checkpoint: Artifact) -> str:
    """What a served checkpoint is called in its exchanges: its path in the store."""
    return f"{checkpoint.kind}/{checkpoint.name}-{checkpoint.fingerprint[:12]}"


FEEDBACK = Step(
    name="feedback",
    kind="corpus",
    version=4,
    section=FeedbackSection,
    run=run_feedback,
    scan=scan_feedback,
)
