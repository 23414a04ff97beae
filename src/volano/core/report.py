"""What an evaluation found: figures with interval and n, never a bare number."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from volano.core.errors import StoreError
from volano.core.files import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Measurement:
    """One figure of one stage. `low` and `high` bound its 95 % interval; n counts the items.

    A figure that has no sampling error of its own (a chance level) has low = high = value.
    """

    name: str
    stage: str
    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The payload of a report artifact: measurements, and whatever tests compared them."""

    measurements: tuple[Measurement, ...]
    comparisons: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read it back. Raises StoreError where the file is absent or damaged."""
        value = read_json(path)
        if value.get("format", 0) > FORMAT:
            raise StoreError(
                f"written by a newer Volano (report format {value['format']})",
                str(path),
                "Upgrade Volano to read it.",
            )
        return cls(
            tuple(Measurement(**each) for each in value["measurements"]),
            tuple(value["comparisons"]),
            value["extra"],
        )

    def find(self, name: str, stage: str) -> Measurement | None:
        """The figure of that name and stage, if it was measured."""
        for each in self.measurements:
            if (each.name, each.stage) == (name, stage):
                return each
        return None
