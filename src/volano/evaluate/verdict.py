"""What a gate has decided, apart from how: plans, cards and turns read it and need no model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from volano.core.finding import DataRequest, data_request


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why; `lost` names the protected tasks that did not pass."""

    promote: bool
    reason: str
    better: bool
    lost: tuple[str, ...] = ()
    requests: tuple[DataRequest, ...] = ()  # what the next turn needs, where this one is refused
    tests: tuple[dict[str, Any], ...] = field(default=())


def verdict_of(extra: Mapping[str, Any]) -> Verdict:
    """The verdict that a gate's report holds."""
    value = extra["verdict"]
    lists = {name: tuple(value[name]) for name in ("lost", "tests")}
    requests = tuple(data_request(each) for each in value["requests"])
    return Verdict(**{**value, **lists, "requests": requests})


def plain(verdict: Verdict) -> dict[str, Any]:
    """For a report's `extra`."""
    return asdict(verdict)
