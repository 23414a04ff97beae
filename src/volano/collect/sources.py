"""What the paths of a recipe name: files, repositories, addresses, data sets of the Hub."""

import os
from collections import Counter
from pathlib import Path

from volano.collect.crawl import is_crawl, listed_files
from volano.collect.hub import PREFIX, list_dataset
from volano.collect.listing import listing_of
from volano.collect.paths import find_files
from volano.collect.readers.git import SUFFIX as GIT_SUFFIX
from volano.collect.readers.git import is_repository, repository_entry
from volano.collect.remote import is_remote, list_remote
from volano.collect.section import CollectSection
from volano.core.step import Entry, Listing


def list_sources(settings: CollectSection) -> Listing:
    """All that the paths name, with its identity: digests of files, commits of repositories.
    Raises DataError for a path that names nothing."""
    repositories: list[Path] = []
    patterns: list[str] = []
    entries: list[Entry] = []
    skipped: Counter[str] = Counter()
    for pattern in settings.paths:
        path = Path(os.path.abspath(os.path.expanduser(pattern)))
        if pattern.startswith(PREFIX):
            entries += list_dataset(pattern, settings.dataset_config, settings.dataset_split)
        elif is_crawl(pattern):
            for url in listed_files(pattern, settings.crawl_files):
                entries += list_remote(url, settings.format)[0]
        elif is_remote(pattern):
            found, unknown = list_remote(pattern, settings.format)
            entries += found
            skipped += unknown
        elif settings.format == "auto" and path.is_dir() and is_repository(path):
            repositories.append(path)
        else:
            patterns.append(pattern)
    files, notes = find_files(patterns, settings.format) if patterns else ({}, [])
    notes += [f"{count} files {suffix} passed over" for suffix, count in sorted(skipped.items())]
    entries += [*listing_of(files).entries, *_repositories(repositories)]
    unique = {(entry.key, entry.url): entry for entry in entries}  # one address may be named twice
    return Listing(tuple(unique[each] for each in sorted(unique, key=_order)), tuple(notes))


def is_elsewhere(pattern: str) -> bool:
    """An address, a crawl or a data set of the Hub: no path here, nor a name in a store."""
    return pattern.startswith(PREFIX) or is_crawl(pattern) or is_remote(pattern)


def _order(named: tuple[str, str | None]) -> tuple[str, str]:
    return named[0], named[1] or ""


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
