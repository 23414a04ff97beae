"""What a collect step reads of the outside world, with the digest of every file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from volano.core.errors import DataError
from volano.core.files import file_digest
from volano.core.step import Entry, Listing

THREADS = 4  # hashing and opening let go of the interpreter


def listing_of(files: Mapping[str, Path], notes: Sequence[str] = ()) -> Listing:
    """The listing of files given by key, in order of the keys. Raises DataError if one is gone."""
    keys = sorted(files)
    with ThreadPoolExecutor(THREADS) as pool:
        entries = pool.map(_entry, keys, [files[key] for key in keys])
        return Listing(tuple(entries), tuple(notes))


def _entry(key: str, path: Path) -> Entry:
    try:
        return Entry(key, path, path.stat().st_size, file_digest(path))
    except OSError as problem:
        remedy = "Make it readable, or leave it out."
        raise DataError(f"cannot be read ({problem.strerror})", str(path), remedy) from None
