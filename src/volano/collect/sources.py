"""What the paths of a recipe name: files, folders and repositories of this machine."""

import os
from pathlib import Path

from volano.collect.listing import listing_of
from volano.collect.paths import find_files
from volano.collect.readers.git import SUFFIX as GIT_SUFFIX
from volano.collect.readers.git import is_repository, repository_entry
from volano.collect.section import CollectSection
from volano.core.step import Entry, Listing


def list_sources(settings: CollectSection) -> Listing:
    """All that the paths name, with its identity: digests of files, commits of repositories.
    Raises DataError for a path that names nothing."""
    repositories: list[Path] = []
    patterns: list[str] = []
    for pattern in settings.paths:
        path = Path(os.path.abspath(os.path.expanduser(pattern)))
        if settings.format == "auto" and path.is_dir() and is_repository(path):
            repositories.append(path)
        else:
            patterns.append(pattern)
    files, notes = find_files(patterns, settings.format) if patterns else ({}, [])
    entries = list(listing_of(files).entries) + _repositories(repositories)
    return Listing(tuple(entries), tuple(notes))


def _repositories(paths: list[Path]) -> list[Entry]:
    unique = sorted(set(paths))
    if not unique:
        return []
    # As with files: a key says nothing of where the folder lies that all of them share.
    common = unique[0].parent if len(unique) == 1 else Path(os.path.commonpath(unique))
    names = [path.relative_to(common).as_posix().removesuffix(".git") for path in unique]
    return [
        repository_entry(path, (name if name != "." else path.name) + GIT_SUFFIX)
        for path, name in zip(unique, names, strict=True)
    ]
