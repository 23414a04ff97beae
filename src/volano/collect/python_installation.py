"""The Python installation as a corpus: documentation, code, READMEs and licences of this machine.

Two passes. The first takes the files apart in worker processes and leaves findings in the scratch
folder, a shard at a time, so that a killed run goes on where it stopped. The second knows all of
them: it gives every function its public name and its split, and writes the documents.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from volano.collect.document_shards import DocumentShards
from volano.collect.exports import Exports, PackageImports, is_public
from volano.collect.installation import OWN_PACKAGES, Installation, Package
from volano.collect.listing import listing_of
from volano.collect.python_files import FileShard, parse_shard
from volano.collect.section import CollectSection
from volano.collect.splits import Candidate, assign_splits, is_held_out
from volano.core.corpus import QUARANTINE_SCHEMA, finish_corpus, read_shard, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.records import Document
from volano.core.step import Context, Entry, Listing

SOURCE_SHARD_BYTES = 3_000_000  # half a second of parsing: little to do again after a kill


def scan_installation(
    settings: CollectSection, installation: Installation | None = None
) -> Listing:
    """The files of the standard library and the packages, with digests. Raises DataError if the
    user named packages and none is installed."""
    installation = installation or Installation.current()
    packages, notes = _packages(settings, installation)
    return listing_of({key: path for each in packages for key, path in each.files.items()}, notes)


def collect_installation(
    settings: CollectSection, context: Context, installation: Installation | None = None
) -> None:
    """Write the corpus of the listed files into the context's folder."""
    installation = installation or Installation.current()
    listing = context.listing or scan_installation(settings, installation)
    packages, _ = _packages(settings, installation)
    owners = {key: each.name for each in packages for key in each.files}
    shards = _source_shards(listing.entries, owners, settings)
    outputs = [shard_path(context.scratch, "findings", place) for place in range(len(shards))]
    with context.progress("collect", sum(each.bytes for each in shards) / 1e6, "MB") as bar:
        context.engine.map(
            parse_shard,
            shards,
            outputs,
            kind="process",
            bar=bar,
            unit_of=lambda shard: shard.bytes / 1e6,
        )
    functions = Functions(outputs, settings)
    documents = DocumentShards(context.folder)
    quarantined: list[dict[str, str]] = []
    described = {each.name: each for each in packages}
    forgotten = 0
    for document in _documents(outputs, functions, described, settings, quarantined):
        if listing.forgets([document.id], [document.text])[0]:
            forgotten += 1
        else:
            documents.add(document)
    documents.close()
    if documents.count == 0:
        raise DataError(
            "no documents", "collect", "Name more kinds, or packages that have some text."
        )
    if quarantined:
        table = pa.Table.from_pylist(quarantined, schema=QUARANTINE_SCHEMA)
        write_shard(shard_path(context.folder, "quarantine", 0), table)
    finish_corpus(
        context.folder,
        "document",
        {
            "splits": dict(sorted(documents.splits.items())),
            "packages": {each.name: each.source for each in packages},
            "notes": list(listing.notes),
            "passed_over": {"forgotten documents": forgotten} if forgotten else {},
            "repeated_functions": functions.repeated,
        },
    )
    context.bill["documents"] = documents.count


class Functions:
    """Names, ids and splits of all documented functions, in the order of the findings."""

    def __init__(self, outputs: Sequence[Path], settings: CollectSection) -> None:
        columns = [
            "kind", "package", "module", "name", "docstring_key", "summary_key", "qualifies",
            "imports",
        ]  # fmt: skip
        tables = [read_shard(output, columns) for output in outputs]
        rows = [row for table in tables for row in table.to_pylist()]
        exports = _exports(row for row in rows if row["kind"] == "imports")
        self.repeated = 0
        self.names: list[str | None] = []  # None: the same text under the same name came before
        candidates = []
        seen = set()
        for row in rows:
            if row["kind"] != "function":
                continue
            name = exports.public_name(row["module"], row["name"])
            if (row["package"], name, row["docstring_key"]) in seen:
                self.repeated += 1
                self.names.append(None)
                continue
            seen.add((row["package"], name, row["docstring_key"]))
            self.names.append(name)
            qualifies = row["qualifies"] and is_public(name)
            candidates.append(Candidate(row["docstring_key"], row["summary_key"], qualifies))
        wanted = settings.held_out_functions if "function" in settings.kinds else 0
        self.splits = assign_splits(
            candidates, held_out_functions=wanted, pool_fraction=settings.pool_fraction
        )


def _packages(
    settings: CollectSection, installation: Installation
) -> tuple[list[Package], list[str]]:
    if isinstance(settings.packages, list):
        installation.require(settings.packages)
        return installation.packages(settings.packages)
    return installation.packages(OWN_PACKAGES if settings.packages == "own" else ())


def _source_shards(
    entries: Sequence[Entry], owners: dict[str, str], settings: CollectSection
) -> list[FileShard]:
    """Files in order of their keys, some megabytes at a time."""
    shards = []
    files: list[tuple[str, str, Path]] = []
    size = 0
    with_code = settings.code_fraction if "code" in settings.kinds else 0.0
    for place, entry in enumerate(entries):
        if entry.key not in owners:
            raise DataError(
                "the Python installation changed during the run", entry.key, "Run it again."
            )
        files.append((owners[entry.key], entry.key, entry.path))
        size += entry.bytes
        if size >= SOURCE_SHARD_BYTES or place + 1 == len(entries):
            shards.append(FileShard(tuple(files), size, with_code))
            files, size = [], 0
    return shards


def _exports(rows: Iterator[dict[str, Any]]) -> Exports:
    packages: dict[str, PackageImports] = {}
    lists: dict[str, list[str]] = {}
    for row in rows:
        described = json.loads(row["imports"])
        imports = tuple(tuple(each) for each in described["imports"])
        if imports:
            earlier = packages.get(row["module"], PackageImports(()))
            packages[row["module"]] = PackageImports(earlier.imports + imports)
        if described["exports"] is not None:
            lists[row["module"]] = described["exports"]
    return Exports.read(packages, lists)


def _documents(
    outputs: Sequence[Path],
    functions: Functions,
    packages: dict[str, Package],
    settings: CollectSection,
    quarantined: list[dict[str, str]],
) -> Iterator[Document]:
    """The documents in the order of the findings; files that were not readable are appended to
    `quarantined`."""
    names, splits = iter(functions.names), iter(functions.splits)
    used: Counter[str] = Counter()
    for output in outputs:
        for finding in read_shard(output).to_pylist():
            kind, key, text = finding["kind"], finding["key"], finding["text"]
            package = packages[finding["package"]]
            name, split = None, "train"
            if kind == "quarantine":
                quarantined.append({"where": key, "reason": text, "excerpt": finding["name"]})
                continue
            if kind == "function":
                name = next(names)
                if name is None:
                    continue
                split = next(splits)
            if not text or kind not in settings.kinds:
                continue
            if name is None and is_held_out(text, settings.held_out_fraction):
                split = "test"
            identifier = f"{package.name}:{_local_id(finding, name)}"
            used[identifier] += 1
            if used[identifier] > 1:
                identifier = f"{identifier}#{used[identifier]}"
            yield Document(
                id=identifier,
                text=f"{_heading(finding, name)}{text}",
                source=package.source,
                kind=kind,
                split=split,
                licence=package.licence,
                package=package.name,
                path=key,
                metadata=_metadata(finding, name) if name else "{}",
            )


def _local_id(finding: dict[str, Any], function: str | None) -> str:
    """What tells a document from the others of its package."""
    if function:
        return function
    if finding["kind"] == "module":
        return f"module:{finding['module']}"
    if finding["kind"] == "topic":
        return f"topic:{finding['name']}"
    return str(finding["key"]).partition("/")[2]


def _heading(finding: dict[str, Any], function: str | None) -> str:
    if function:
        return f"{function}{finding['signature']}\n\n"
    return f"{finding['module']}\n\n" if finding["kind"] == "module" else ""


def _metadata(finding: dict[str, Any], function: str) -> str:
    described = {
        "qualified_name": function,
        "module": finding["module"],
        "signature": finding["signature"],
        "summary": finding["summary"],
        "form": finding["form"],
    }
    return json.dumps(described, ensure_ascii=False)
