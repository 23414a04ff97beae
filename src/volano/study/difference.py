"""What sets two artifacts apart: settings, inputs, the outside world, and single documents."""

from dataclasses import dataclass
from typing import Any

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus
from volano.study.plan import differences

SAMPLE = 10


@dataclass(frozen=True)
class Difference:
    """The answer of `volano diff A B`. Counts of documents are None where these are no corpora."""

    same_content: bool
    settings: list[str]
    inputs: list[str]
    versions: list[str]
    only_first: int | None = None
    only_second: int | None = None
    changed_text: int | None = None
    samples: dict[str, list[str]] | None = None


def difference(first: Artifact, second: Artifact) -> Difference:
    """Compare two artifacts of any kind."""
    one, two = first.meta["identity"], second.meta["identity"]
    settings = differences(one["settings"], two["settings"])
    settings += differences(one["seed"], two["seed"], "seed")
    inputs = differences(_names(first), _names(second), "")
    if one["listing"] != two["listing"]:
        inputs.append("what it read outside the store")
    versions = differences(one["version"], two["version"], "step version")
    versions += differences(first.meta["provenance"], second.meta["provenance"], "")
    same = first.digest == second.digest
    if first.kind == second.kind == "corpus":
        return Difference(
            same, settings, inputs, versions, **_documents(first.corpus(), second.corpus())
        )
    return Difference(same, settings, inputs, versions)


def _names(artifact: Artifact) -> dict[str, str]:
    return {
        name: f"{each['name']} {each['digest'][:12]}" for name, each in artifact.parents.items()
    }


def _documents(first: Corpus, second: Corpus) -> dict[str, Any]:
    content = [name for name in ("text", "messages", "prompt") if name in first.record.schema.names]
    if first.record is not second.record:
        content = []
    one, two = (_contents(each, content) for each in (first, second))
    only_first = [key for key in one if key not in two]
    only_second = [key for key in two if key not in one]
    changed = [key for key in one if key in two and one[key] != two[key]]
    return {
        "only_first": len(only_first),
        "only_second": len(only_second),
        "changed_text": len(changed),
        "samples": {
            "only first": only_first[:SAMPLE],
            "only second": only_second[:SAMPLE],
            "changed text": changed[:SAMPLE],
        },
    }


def _contents(corpus: Corpus, columns: list[str]) -> dict[str, int]:
    found = {}
    for row in corpus.to_arrow(["id", *columns]).to_pylist():
        found[row["id"]] = hash(str([row[name] for name in columns]))
    return found
