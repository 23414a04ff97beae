"""Which feedback a reader wants: by person, request, kind, checkpoint, source and time."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select

from volano.core.errors import DataError, did_you_mean
from volano.core.feedback import KINDS
from volano.feedback import schema
from volano.feedback.rows import utc_time


@dataclass(frozen=True)
class Selection:
    """Everything where nothing is set. `since` is included and `until` is not; time and source are
    those of what is read: exchanges, or events. `checkpoint` is the start of its name."""

    who: str | None = None
    request_id: str | None = None
    kind: str | None = None
    checkpoint: str | None = None
    since: str | None = None
    until: str | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            what = f"unknown kind of feedback '{self.kind}'"
            raise DataError(what, "--kind", did_you_mean(self.kind, KINDS))
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, utc_time(getattr(self, name), f"--{name}"))

    def of_exchanges(self) -> list[ColumnElement[bool]]:
        """The conditions on exchanges. `who` is also met by an event of theirs on it, and with a
        kind only those exchanges count that have such an event."""
        column = schema.exchanges.c
        conditions = self._of_both(column)
        if self.checkpoint is not None:
            conditions.append(column.checkpoint.startswith(self.checkpoint, autoescape=True))
        mine = self.of_attached_events()
        has_mine = exists().where(schema.events.c.request_id == column.request_id, *mine)
        if self.kind is not None:
            conditions.append(has_mine)
        elif self.who is not None:
            conditions.append(or_(column.who == self.who, has_mine))
        return conditions

    def of_attached_events(self) -> list[ColumnElement[bool]]:
        """The conditions on the events that are shown with a selected exchange."""
        column = schema.events.c
        conditions: list[Any] = []
        if self.who is not None:
            conditions.append(column.who == self.who)
        if self.kind is not None:
            conditions.append(column.kind == self.kind)
        return conditions

    def of_events(self) -> list[ColumnElement[bool]]:
        """The conditions on events by themselves."""
        column = schema.events.c
        conditions = self._of_both(column) + self.of_attached_events()
        if self.checkpoint is not None:
            about = schema.exchanges.c
            named = about.checkpoint.startswith(self.checkpoint, autoescape=True)
            conditions.append(column.request_id.in_(select(about.request_id).where(named)))
        return conditions

    def _of_both(self, column: Any) -> list[Any]:
        conditions: list[Any] = []
        if self.request_id is not None:
            conditions.append(column.request_id == self.request_id)
        if self.since is not None:
            conditions.append(column.time >= self.since)
        if self.until is not None:
            conditions.append(column.time < self.until)
        if self.sources:
            conditions.append(column.source.in_(self.sources))
        return conditions


EVERYTHING = Selection()
