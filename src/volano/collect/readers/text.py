"""Plain text and source code: one document a file."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from volano.collect.readers.fields import MAX_TEXT_BYTES, TOO_LONG, Fields, Read
from volano.core.jsonlines import EXCERPT_CHARACTERS, Problem, read_chunks

LONGEST_CHARACTER_BYTES = 4
PROSE_SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".adoc"})
COMPRESSION_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd"})
_PART_OF_A_DUMP = re.compile(r"(?<=^\.xml)-p\d+p\d+$")  # pages-articles1.xml-p1p41242.bz2
CODE_SUFFIXES = frozenset(
    {
        ".py", ".pyi", ".js", ".ts", ".java", ".c", ".h", ".cc", ".cpp", ".hpp", ".go", ".rs",
        ".rb", ".sh", ".sql", ".r", ".jl", ".kt", ".swift", ".php", ".cs", ".scala", ".lua",
    }
)  # fmt: skip


def read_text(path: Path, name: str, text_field: str) -> Read:
    """The one document of a file. Of a compressed file that stops short, what could be read."""
    whole = True
    for content in read_whole(path, name):
        if isinstance(content, Problem):
            yield content
            whole = False
            continue
        try:
            text = content.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as failure:
            if whole or failure.start < len(content) - LONGEST_CHARACTER_BYTES:
                excerpt = content[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
                yield Problem(name, f"not UTF-8 at byte {failure.start}", excerpt)
                return
            text = content[: failure.start].decode("utf-8")  # the cut went through a character
        if text or whole:
            kind = "code" if plain_suffix(name) in CODE_SUFFIXES else "text"
            yield Fields(name, name, {text_field: text, "kind": kind})


def read_whole(path: Path, name: str) -> Iterator[bytes | Problem]:
    """All bytes of a file, decompressed. If it stops short, the problem and then what could be
    read; if it is too long to be one text, the problem alone."""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in read_chunks(path):
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_TEXT_BYTES:
                yield Problem(name, TOO_LONG, "")
                return
    except EOFError as failure:
        yield Problem(name, f"truncated or damaged file ({failure})", "")
    yield b"".join(parts)


def plain_suffix(name: str) -> str:
    """The suffix of a name without that of its compression: ".jsonl" of "a.JSONL.gz"."""
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in COMPRESSION_SUFFIXES else path.suffix
    return _PART_OF_A_DUMP.sub("", suffix)
