"""Where the text of this Python installation lies: the standard library and named packages.

Which files belong to a package is read from the list that its installer left (RECORD), so that
nothing is imported and nothing else in the folder gets in. Keys leave out the place of the
installation: equal files have equal keys on every machine.
"""

import csv
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from functools import cached_property
from pathlib import Path

from volano.core.errors import DataError, did_you_mean

STDLIB = "stdlib"
STDLIB_LICENCE = "PSF-2.0"
# What `volano[train]` and torch install and document well, so that an environment for development
# has the same corpus as one for use (a test compares the list with pyproject.toml). Left out:
# generated tables (phonenumbers, 22 MB), and pip and setuptools, whose version no lock decides.
OWN_PACKAGES = (
    "anyio", "charset-normalizer", "click", "duckdb", "filelock", "fsspec",
    "huggingface-hub", "jinja2", "joblib", "llvmlite", "markdown-it-py", "mpmath",
    "narwhals", "networkx", "numba", "numpy", "packaging", "pandas", "patsy",
    "pyarrow", "pydantic", "pydantic-core", "pygments", "python-dateutil", "pyyaml",
    "requests", "rich", "ruamel-yaml", "safetensors", "scikit-learn",
    "scipy", "statsmodels", "sympy", "tokenizers", "torch", "tqdm",
    "typer", "urllib3",
)  # fmt: skip
TEST_FOLDERS = {"test", "tests", "testing", "_tests", "idle_test", "__pycache__", "site-packages"}
LICENCE_NAMES = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)", re.IGNORECASE)
README_NAMES = re.compile(r"README[\w.-]*", re.IGNORECASE)
PROSE_SUFFIXES = {"", ".txt", ".md", ".rst"}


@dataclass(frozen=True)
class Package:
    """The standard library or one installed distribution."""

    name: str  # normalised: "scikit-learn"
    source: str  # "scikit-learn 1.9.1"
    licence: str | None
    files: dict[str, Path]  # key → path, in order of the keys


@dataclass(frozen=True)
class Installation:
    """A standard library and the folders that packages are installed in."""

    standard_library: Path
    site_folders: tuple[Path, ...]

    @classmethod
    def current(cls) -> "Installation":
        """The one that runs this program."""
        paths = sysconfig.get_paths()
        folders = dict.fromkeys([*map(Path, sys.path[1:]), Path(paths["purelib"])])
        sites = [each for each in folders if each.is_dir() and each != Path(paths["stdlib"])]
        return cls(Path(paths["stdlib"]), tuple(sites))

    def packages(self, names: Iterable[str]) -> tuple[list[Package], list[str]]:
        """The standard library and the named packages that are here; then, of those that are not,
        a note each."""
        found = [self._standard_library()]
        notes = []
        for name in sorted({normalised_name(name) for name in names} - {STDLIB}):
            folder = self._metadata_folders.get(name)
            files = _recorded_files(folder) if folder else {}
            if folder is None:
                notes.append(f"{name} is not installed")
            elif not files:
                notes.append(f"{name} lists no files that can be read")
            else:
                metadata = message_from_string((folder / "METADATA").read_text("utf-8"))
                source = f"{name} {metadata['Version']}"
                found.append(Package(name, source, licence_of(metadata), files))
        return found, notes

    def require(self, names: Sequence[str]) -> None:
        """Raises DataError for names of a list that a user wrote, if none of them is here."""
        known = sorted(self._metadata_folders)
        absent = [name for name in names if normalised_name(name) not in {*known, STDLIB}]
        if names and len(absent) == len(names):
            raise DataError(
                f"package '{absent[0]}' is not installed",
                "collect.packages",
                did_you_mean(normalised_name(absent[0]), known)
                if len(known) < 30 or _has_near(absent[0], known)
                else "Install it, or name another.",
            )

    @cached_property
    def _metadata_folders(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for site in self.site_folders:
            for folder in sorted(site.glob("*.dist-info")):
                found.setdefault(normalised_name(folder.name.partition("-")[0]), folder)
        return found

    def _standard_library(self) -> Package:
        # The interpreter's own list leaves out what a distributor or a user has put beside it.
        names = sys.stdlib_module_names
        keys: list[str] = []
        for top in os.scandir(self.standard_library):
            if top.is_dir() and top.name in names:
                for folder, inner, leaves in os.walk(top.path):
                    inner[:] = [each for each in inner if each not in TEST_FOLDERS]
                    place = os.path.relpath(folder, self.standard_library).replace(os.sep, "/")
                    keys += [f"{place}/{leaf}" for leaf in leaves if leaf.endswith(".py")]
            elif top.name.removesuffix(".py") in names or is_prose(top.name):
                keys.append(top.name)
        return Package(
            STDLIB, STDLIB, STDLIB_LICENCE, _present(keys, self.standard_library, STDLIB)
        )


def normalised_name(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(metadata: Message) -> str | None:
    """The licence that a distribution states: its expression, else a short name, else a class."""
    expression = metadata.get("License-Expression")
    if expression:
        return " ".join(str(expression).split())
    stated = str(metadata.get("License") or "").strip()
    if stated and "\n" not in stated and len(stated) <= 60 and stated.upper() != "UNKNOWN":
        return stated
    classes = [str(each) for each in metadata.get_all("Classifier") or ()]
    named = [each.rpartition(" :: ")[2] for each in classes if each.startswith("License :: ")]
    return " OR ".join(named) or None


def _recorded_files(folder: Path) -> dict[str, Path]:
    record = folder / "RECORD"
    if not record.is_file():
        return {}
    with record.open(encoding="utf-8", newline="") as stream:
        keys = [row[0] for row in csv.reader(stream) if row]
    return _present(keys, folder.parent, "site")


def _present(keys: Iterable[str], folder: Path, prefix: str) -> dict[str, Path]:
    files = {}
    for key in sorted(keys):
        *folders, name = key.split("/")
        wanted = name.endswith((".py", ".pyi")) or name == "METADATA" or is_prose(name)
        if wanted and ".." not in folders and TEST_FOLDERS.isdisjoint(folders):
            path = os.path.join(folder, key)
            if os.path.isfile(path):
                files[f"{prefix}/{key}"] = Path(path)
    return files


def is_prose(name: str) -> bool:
    """A README or a licence."""
    return is_readme(name) or is_licence(name)


def is_readme(name: str) -> bool:
    """A README in a format that people read."""
    return bool(README_NAMES.match(name)) and os.path.splitext(name)[1] in PROSE_SUFFIXES


def is_licence(name: str) -> bool:
    """A licence or a notice; not a module such as licence.py."""
    suffix = os.path.splitext(name)[1].lower()
    return bool(LICENCE_NAMES.search(name)) and suffix not in {
        ".py",
        ".pyi",
        ".json",
        ".csv",
        ".so",
    }


def _has_near(name: str, known: Sequence[str]) -> bool:
    return did_you_mean(normalised_name(name), known).startswith("Did you mean")
