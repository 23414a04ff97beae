"""From the files of a Python installation to findings: one per docstring, module, topic or licence.

This is the slow half of collecting (parsing 200 MB of Python), so it runs in worker processes, one
shard of files at a time. Findings are not documents yet: names and splits need all of them.
"""

import gc
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

import pyarrow as pa

from volano.collect.exports import absolute, is_public
from volano.collect.installation import is_licence, is_readme
from volano.collect.source_code import (
    Described,
    SourceFile,
    UnreadableError,
    read_source,
    topics_of,
)
from volano.collect.splits import text_key
from volano.collect.summary import (
    MIN_DOCUMENTATION_CHARACTERS,
    is_proper_sentence,
    split_call,
    summary_of,
)
from volano.core.corpus import write_shard

TOPICS_KEY = "stdlib/pydoc_data/topics.py"
EXCERPT_CHARACTERS = 80
FINDING_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("package", pa.string()),
        ("key", pa.string()),
        ("module", pa.string()),
        ("name", pa.string()),
        ("form", pa.string()),
        ("signature", pa.string()),
        ("summary", pa.string()),
        ("docstring_key", pa.binary()),
        ("summary_key", pa.binary()),
        ("qualifies", pa.bool_()),
        ("imports", pa.string()),
        ("text", pa.large_string()),
    ]
)


@dataclass(frozen=True)
class Finding:
    """One thing that a file says. Kinds are those of documents, and two more: "imports" (what an
    `__init__` imports, and `__all__`) and "quarantine" (why the file could not be read)."""

    kind: str
    package: str
    key: str
    text: str = ""
    module: str = ""
    name: str = ""
    form: str = ""
    signature: str = ""
    summary: str = ""
    docstring_key: bytes = b""
    summary_key: bytes = b""
    qualifies: bool = False
    imports: str = ""


@dataclass(frozen=True)
class FileShard:
    """The files that one call reads: (package, key, path) each."""

    files: tuple[tuple[str, str, Path], ...]
    bytes: int
    code_fraction: float


def parse_shard(shard: FileShard, output: Path) -> None:
    """Write the findings of all files of a shard. The function that the engine maps."""
    # Trees of half a million nodes are no garbage; looking through them costs a third of the time.
    gc.disable()
    try:
        findings = [
            vars(finding)
            for package, key, path in shard.files
            for finding in findings_of(package, key, path.read_bytes(), shard.code_fraction)
        ]
    finally:
        gc.enable()
    write_shard(output, pa.Table.from_pylist(findings, schema=FINDING_SCHEMA))


def findings_of(package: str, key: str, content: bytes, code_fraction: float) -> Iterator[Finding]:
    """What one file says; a file that cannot be read gives a "quarantine"."""
    name = key.rpartition("/")[2]
    try:
        if key == TOPICS_KEY:
            for topic, text in topics_of(content).items():
                yield Finding("topic", package, key, text, name=topic)
        elif name.endswith((".py", ".pyi")):
            with_code = name.endswith(".py") and _share_of(key) < code_fraction
            yield from _python(package, key, read_source(content, with_code=with_code))
        elif name == "METADATA":
            body = message_from_string(_utf8(content)).get_payload()
            yield Finding("readme", package, key, str(body).strip())
        elif is_readme(name):
            yield Finding("readme", package, key, _utf8(content).strip())
        elif is_licence(name):
            yield Finding("licence", package, key, _utf8(content).strip())
    except UnreadableError as problem:
        excerpt = content[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
        yield Finding("quarantine", package, key, str(problem), name=excerpt)


def _python(package: str, key: str, source: SourceFile) -> Iterator[Finding]:
    module = module_of(key)
    if source.code.strip():
        yield Finding("code", package, key, source.code, module=module or "")
    if module is None:
        return
    is_package = key.endswith(("/__init__.py", "/__init__.pyi"))
    # A plain module hands on what its __all__ names; other imports are for its own use.
    handed_on = [
        each for each in source.imports if is_package or each.alias in (source.exports or ())
    ]
    if handed_on or source.exports is not None:
        inside = module if is_package else module.rpartition(".")[0]
        imports = [
            (absolute(inside, each.level, each.module), each.name, each.alias) for each in handed_on
        ]
        described = json.dumps({"imports": imports, "exports": source.exports})
        yield Finding("imports", package, key, module=module, imports=described)
    if source.docstring and not key.endswith(".pyi"):
        yield Finding("module", package, key, source.docstring, module=module)
    for function in source.described:
        if is_public(function.name):  # the others are documented for their authors
            yield _function(package, key, module, function)


def _function(package: str, key: str, module: str, described: Described) -> Finding:
    call, docstring = split_call(described.docstring)
    signature = described.signature
    if call and not signature and described.form != "property":
        parameters = call.partition("->")[0].partition("(")[2].strip().removesuffix(")")
        signature = f"({parameters.strip(' ,')})"
    summary = summary_of(docstring)
    place = module if described.module is None else described.module
    return Finding(
        "function",
        package,
        key,
        docstring,
        module=place or module.rpartition(".")[0],
        name=described.name,
        form=described.form,
        signature=signature,
        summary=summary,
        docstring_key=text_key(docstring),
        summary_key=text_key(summary),
        qualifies=bool(summary)
        and is_proper_sentence(summary)
        and len(docstring) >= MIN_DOCUMENTATION_CHARACTERS,
    )


def module_of(key: str) -> str | None:
    """The dotted name of the module in "site/numpy/linalg/__init__.py"; None if it has none."""
    parts = key.rpartition(".")[0].split("/")[1:]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _share_of(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def _utf8(content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        raise UnreadableError(f"not UTF-8 at byte {problem.start}") from None
