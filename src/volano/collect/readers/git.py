"""Git repositories: the tracked files of HEAD as documents, whatever lies in the work tree.

Read through the `git` program, whose plumbing runs nothing that a repository brings along. What no
person wrote for people to read (vendored, generated, minified, binary) is passed over and counted.
"""

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple
from urllib.parse import quote, urlsplit

from volano.collect.licences import is_licence_file, joint_licence, licence_of, stated_licence
from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.text import PROSE_SUFFIXES
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.jsonlines import EXCERPT_CHARACTERS, Problem
from volano.core.step import Entry

SUFFIX = ".git"  # of the key of a repository in a listing
MAX_FILE_BYTES = 1 << 20  # longer files of code are data
BINARY_BYTES = 8_000  # where git itself looks for a NUL
GENERATED_CHARACTERS = 1_000
MINIFIED_LINE_CHARACTERS = 110  # on average. Source: github-linguist, generated.rb
MINIFIABLE = {".js", ".css", ".mjs"}
LANGUAGES = {
    ".py": "Python", ".pyi": "Python", ".pyx": "Cython", ".js": "JavaScript", ".mjs": "JavaScript",
    ".jsx": "JavaScript", ".ts": "TypeScript", ".tsx": "TypeScript", ".java": "Java", ".c": "C",
    ".h": "C", ".cc": "C++", ".cpp": "C++", ".cxx": "C++", ".hpp": "C++", ".hh": "C++",
    ".cu": "CUDA", ".go": "Go", ".rs": "Rust", ".rb": "Ruby", ".sh": "Shell", ".bash": "Shell",
    ".sql": "SQL", ".r": "R", ".jl": "Julia", ".kt": "Kotlin", ".swift": "Swift", ".php": "PHP",
    ".cs": "C#", ".fs": "F#", ".scala": "Scala", ".lua": "Lua", ".pl": "Perl", ".pm": "Perl",
    ".hs": "Haskell", ".ml": "OCaml", ".ex": "Elixir", ".exs": "Elixir", ".erl": "Erlang",
    ".clj": "Clojure", ".dart": "Dart", ".m": "Objective-C", ".zig": "Zig", ".nim": "Nim",
    ".f90": "Fortran", ".css": "CSS", ".scss": "SCSS", ".vue": "Vue", ".tf": "HCL",
    ".proto": "Protocol Buffers", ".cmake": "CMake",
}  # fmt: skip
NAMED_LANGUAGES = {"Makefile": "Makefile", "Dockerfile": "Dockerfile", "CMakeLists.txt": "CMake"}
VENDORED = {
    "vendor", "vendors", "_vendor", "vendored", "third_party", "third-party", "thirdparty",
    "3rdparty", "node_modules", "bower_components", "extern", "external", "externals", "godeps",
    "pods", "carthage", "dist", "site-packages", ".yarn",
}  # fmt: skip
_GENERATED_NAME = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:go|cc|h)|\.g\.dart|\.designer\.cs|_generated\.\w+)$", re.I
)
_MINIFIED_NAME = re.compile(r"[.-]min\.(?:js|css)$", re.IGNORECASE)
_GENERATED = re.compile(
    r"@generated\b|\bDO NOT EDIT\b|\b(?:auto(?:matically)?[- ]?generated)\b(?! by hand)", re.I
)


class _Blob(NamedTuple):
    name: str  # of the object
    path: str
    bytes: int


def is_repository(folder: Path) -> bool:
    """A folder that git would take for a repository: the root of a work tree, or a bare one."""
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return (folder / ".git").exists() or (bare and (folder / "refs").is_dir())


def repository_entry(path: Path, key: str) -> Entry:
    """A repository for a listing: known by its commit, and by where it says that it is from."""
    commit = _head(path)
    _, blobs = _blobs(path, commit)
    digest = json_digest([commit, _origin(path)])
    return Entry(key, path, sum(blob.bytes for blob in blobs), digest)


def read_git(path: Path, name: str, text_field: str) -> Read:
    """The files of HEAD by path, each called by the repository and its path."""
    commit = _head(path)
    others, blobs = _blobs(path, commit)
    yield from others
    shown = name.removesuffix(SUFFIX)
    origin = _origin(path)
    date = _git(path, "show", "-s", "--format=%cI", commit).strip()
    licences = _licences(path, blobs)
    wanted = []
    for blob in blobs:
        refused = _refused_by_path(blob)
        if refused:
            yield PassedOver(refused)
        else:
            wanted.append(blob)
    for blob, content in _contents(path, wanted):
        where = f"{shown}/{blob.path}"
        if content is None:
            yield Problem(where, "its object is missing or damaged: run `git fsck`", "")
            continue
        read = _text(blob, content, where)
        if not isinstance(read, str):
            yield read
            continue
        language = _language(blob.path)
        values = {
            text_field: read,
            "kind": "code" if language else "text",
            "language": language,
            "licence": stated_licence(read) or _nearest(licences, blob.path),
            "commit": commit,
            "date": date,
            "url": _address(origin, commit, blob.path),
            "repository": origin,
        }
        yield Fields(where, where, {key: value for key, value in values.items() if value})


def _refused_by_path(blob: _Blob) -> str | None:
    path = PurePosixPath(blob.path)
    if not VENDORED.isdisjoint(part.lower() for part in path.parts[:-1]):
        return "vendored files"
    if _MINIFIED_NAME.search(path.name):
        return "minified files"
    if _GENERATED_NAME.search(path.name):
        return "generated files"
    if not _language(blob.path) and path.suffix.lower() not in PROSE_SUFFIXES:
        return f"files {path.suffix.lower() or 'without suffix'}"
    if blob.bytes > MAX_FILE_BYTES:
        return f"files longer than {MAX_FILE_BYTES:,} bytes"
    return None


def _text(blob: _Blob, content: bytes, where: str) -> str | Problem | PassedOver:
    if b"\0" in content[:BINARY_BYTES]:
        return PassedOver("binary files")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as failure:
        excerpt = content[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
        return Problem(where, f"not UTF-8 at byte {failure.start}", excerpt)
    if not text.strip():
        return PassedOver("empty files")
    if _language(blob.path) and _GENERATED.search(text[:GENERATED_CHARACTERS]):
        return PassedOver("generated files")
    minifiable = PurePosixPath(blob.path).suffix.lower() in MINIFIABLE
    if minifiable and len(text) / (text.count("\n") + 1) > MINIFIED_LINE_CHARACTERS:
        return PassedOver("minified files")
    return text


def _language(path: str) -> str | None:
    name = PurePosixPath(path).name
    return NAMED_LANGUAGES.get(name) or LANGUAGES.get(PurePosixPath(name).suffix.lower())


def _licences(path: Path, blobs: Sequence[_Blob]) -> dict[str, str]:
    # Folder → licence; a folder without one of its own has that of the nearest above it.
    candidates = [
        blob
        for blob in blobs
        if is_licence_file(PurePosixPath(blob.path).name) and blob.bytes <= MAX_FILE_BYTES
    ]
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for blob, content in _contents(path, candidates):
        licence = licence_of((content or b"").decode("utf-8", "replace"))
        if licence:
            place = PurePosixPath(blob.path)
            found[str(place.parent)][place.name] = licence
    return {folder: joint for folder, each in found.items() if (joint := joint_licence(each))}


def _nearest(licences: dict[str, str], path: str) -> str | None:
    folders = map(str, PurePosixPath(path).parents)
    return next((licences[each] for each in folders if each in licences), None)


def _origin(path: Path) -> str:
    """Where the repository is from, as an address without names, passwords and tokens; "" where it
    is from this machine or nowhere."""
    url = _git(path, "config", "--get", "remote.origin.url", check=False).strip()
    scp = re.fullmatch(r"(?:[^@/:]+@)?([\w.-]+\.\w+):(?!//)(.+)", url)
    if scp:
        host, place = scp[1], scp[2]
    else:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https", "ssh", "git"} or not parts.hostname:
            return ""
        host, place = parts.hostname, parts.path
    return f"https://{host}/{place.strip('/').removesuffix('.git')}"


def _address(origin: str, commit: str, path: str) -> str:
    host = urlsplit(origin).hostname or ""
    between = {"github.com": "blob", "gitlab.com": "-/blob"}.get(host)
    return f"{origin}/{between}/{commit}/{quote(path)}" if between else origin


def _head(path: Path) -> str:
    commit = _git(path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).strip()
    if not commit:
        _git(path, "rev-parse", "--git-dir")  # says so if it is no repository, or not ours to read
        remedy = "Commit its files, or name them instead of their folder."
        raise DataError("a git repository without a commit", str(path), remedy)
    return commit


def _blobs(path: Path, commit: str) -> tuple[list[PassedOver], list[_Blob]]:
    others: list[PassedOver] = []
    blobs: list[_Blob] = []
    for line in _git(path, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).split("\0"):
        if not line:
            continue
        stated, _, name = line.partition("\t")
        mode, kind, identifier, size = stated.split()
        if kind != "blob":
            others.append(PassedOver("submodules"))
        elif mode == "120000":
            others.append(PassedOver("symbolic links"))
        else:
            # A damaged object has the size BAD; reading it fails, and that is put on record.
            blobs.append(_Blob(identifier, name, int(size) if size.isdigit() else 0))
    return others, blobs


def _contents(path: Path, blobs: Sequence[_Blob]) -> Iterator[tuple[_Blob, bytes | None]]:
    # None for an object that cannot be had; git may die of one, and then goes on with the next.
    waiting = list(reversed(blobs))
    while waiting:
        with subprocess.Popen(
            _command(path, "cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            try:
                while waiting:
                    blob = waiting.pop()
                    try:
                        content = _content(process, blob)
                    except (BrokenPipeError, EOFError):
                        yield blob, None
                        break
                    yield blob, content
            finally:
                process.kill()  # where the reader stops half way; at the end it has nothing to do


def _content(process: "subprocess.Popen[bytes]", blob: _Blob) -> bytes | None:
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(f"{blob.name}\n".encode())
    stdin.flush()
    header = stdout.readline().split()
    if not header:
        raise EOFError
    if len(header) < 3:  # "NAME missing"
        return None
    return _exactly(stdout, int(header[2]))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size + 1)
    if len(content) != size + 1:
        raise EOFError
    return content[:-1]


def _git(path: Path, *arguments: str, check: bool = True) -> str:
    command = _command(path, *arguments)
    done = subprocess.run(command, capture_output=True, check=False, env=_environment())
    if check and done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        remedy = "Mend the repository, or name files inside it instead of the folder."
        raise DataError(f"git cannot read it ({said[0]})", str(path), remedy)
    return done.stdout.decode("utf-8", "backslashreplace")  # names of files may be any bytes


def _command(path: Path, *arguments: str) -> list[str]:
    program = shutil.which("git")
    if program is None:
        remedy = "Install git, or name files inside the folder instead of it."
        raise DataError("a repository, and there is no git to read it with", str(path), remedy)
    return [program, "--no-replace-objects", "-C", str(path), *arguments]


def _environment() -> dict[str, str]:
    # Another repository's variables would win over the path, and nothing may be asked or fetched.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**inherited, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
