"""An artifact: an immutable folder that says what it is, what made it and from what.

`artifact.json` is written last and is the commit; a folder without it is unfinished. What differs
from run to run (seconds, memory, host, time of day) lies in `bill.json`, and what was measured over
its course in `measurements/`, both outside the digest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volano.core.corpus import Corpus
from volano.core.errors import StoreError
from volano.core.files import file_digest, json_digest, read_json
from volano.core.report import Report

FORMAT = 1
COMMIT = "artifact.json"
BILL = "bill.json"
MEASUREMENTS = "measurements"  # a folder


@dataclass(frozen=True)
class Artifact:
    """A published artifact. `meta` is the content of its artifact.json."""

    folder: Path
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> "Artifact":
        """The artifact in a folder. Raises StoreError where it is absent, unfinished or newer."""
        folder = Path(folder)
        if not (folder / COMMIT).is_file():
            raise StoreError(
                f"no artifact here ({COMMIT} is missing)", str(folder), "Name an artifact's folder."
            )
        meta = read_json(folder / COMMIT)
        if not isinstance(meta, dict):
            raise StoreError(f"damaged ({COMMIT})", str(folder), "Delete it and run again.")
        if meta.get("format", 0) > FORMAT:
            raise StoreError(
                f"written by a newer Volano (artifact format {meta['format']}, known: {FORMAT})",
                str(folder),
                "Upgrade Volano to read it.",
            )
        return cls(folder, meta)

    @property
    def name(self) -> str:
        """The label under which it was made, such as python-docs/curated."""
        return str(self.meta["name"])

    @property
    def kind(self) -> str:
        """corpus, tokenizer, tokens, checkpoint or report."""
        return str(self.meta["kind"])

    @property
    def fingerprint(self) -> str:
        """What it was made from: settings, step version, inputs."""
        return str(self.meta["fingerprint"])

    @property
    def digest(self) -> str:
        """What is in it: SHA-256 over all its files."""
        return str(self.meta["digest"])

    @property
    def parents(self) -> dict[str, dict[str, str]]:
        """Input name → kind, name, fingerprint and digest of the artifact it read."""
        return dict(self.meta["parents"])

    @property
    def bytes(self) -> int:
        """Bytes of all its files."""
        return sum(int(each["bytes"]) for each in self.meta["files"].values())

    def bill(self) -> dict[str, Any]:
        """What making it cost; empty where the bill was lost."""
        path = self.folder / BILL
        return dict(read_json(path)) if path.is_file() else {}

    def corpus(self) -> Corpus:
        """Its content as a corpus."""
        return Corpus.open(self.folder)

    def report(self) -> Report:
        """Its content as a report."""
        return Report.load(self.folder / "report.json")

    def to_arrow(self, columns: list[str] | None = None) -> Any:
        """A corpus artifact's records as an Arrow table; see Corpus.to_arrow."""
        return self.corpus().to_arrow(columns)

    def to_pandas(self, columns: list[str] | None = None) -> Any:
        """A corpus artifact's records as a pandas DataFrame."""
        return self.corpus().to_pandas(columns)

    def duckdb(self) -> Any:
        """A DuckDB connection over a corpus artifact's shards."""
        return self.corpus().duckdb()

    def damage(self) -> str | None:
        """What is missing or of another size than recorded, or None. Bytes are not read."""
        for name, recorded in self.meta["files"].items():
            path = self.folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != recorded["bytes"]:
                return f"{name} has {path.stat().st_size:,} bytes instead of {recorded['bytes']:,}"
        return None


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative path → bytes and SHA-256 of each file that belongs to the content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        measured = name in {COMMIT, BILL} or name.startswith(f"{MEASUREMENTS}/")
        if path.is_file() and not measured:
            found[name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    return found


def content_digest(files: dict[str, dict[str, Any]]) -> str:
    """SHA-256 over names and digests of the files."""
    return json_digest({name: each["sha256"] for name, each in files.items()})
