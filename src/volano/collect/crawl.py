"""Listings of a crawl: a file of paths, of which some are read.

Common Crawl publishes each snapshot as tens of thousands of archives and a listing of them
(wet.paths.gz, warc.paths.gz). `cc:CC-MAIN-2024-10` stands for the listing of its extracted text,
`cc:CC-MAIN-2024-10/warc` for that of the pages themselves.
"""

import gzip
import hashlib
import io
import re
import zlib
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from volano.collect.remote import is_remote, read_remote
from volano.core.errors import DataError, did_you_mean

PREFIX = "cc:"
BASE = "https://data.commoncrawl.org"
KINDS = ("wet", "warc")
SUFFIXES = (".paths", ".paths.gz")
WITHOUT_ASKING = 20  # archives of some 100 MB to 1 GB: nobody wants 90,000 of them by mistake
MAX_LISTING_BYTES = 1 << 28
_SNAPSHOT = re.compile(r"cc:([A-Za-z0-9][A-Za-z0-9.-]*)(?:/([a-z]*))?")


def is_crawl(pattern: str) -> bool:
    """Whether this is a snapshot by name or the address of a listing."""
    if pattern.startswith(PREFIX):
        return True
    return is_remote(pattern) and urlsplit(pattern).path.endswith(SUFFIXES)


def listed_files(pattern: str, count: int | None) -> list[str]:
    """The addresses of `count` files of a listing; None takes all, if they are few.

    They are those whose paths have the lowest hashes, so a larger count only adds files, and the
    order of the listing (by time of the crawl) plays no part. Raises DataError.
    """
    url = _listing_of(pattern) if pattern.startswith(PREFIX) else pattern
    content = read_remote(url, MAX_LISTING_BYTES)
    try:
        if urlsplit(url).path.endswith(".gz"):
            with gzip.open(io.BytesIO(content)) as unpacked:
                content = unpacked.read(MAX_LISTING_BYTES)
        paths = [line.strip() for line in content.decode("utf-8").splitlines()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise DataError(f"no listing ({problem})", url, "Check the address.") from None
    paths = sorted({path for path in paths if path}, key=_chance)
    if not paths:
        raise DataError("a listing without any path", url, "Check the address.")
    if count is None and len(paths) > WITHOUT_ASKING:
        raise DataError(
            f"a listing of {len(paths):,} files", url, "Say how many with collect.crawl_files."
        )
    return [_address(url, path) for path in paths[:count]]


def _listing_of(pattern: str) -> str:
    found = _SNAPSHOT.fullmatch(pattern)
    kind = (found[2] if found else None) or KINDS[0]
    if found is None or kind not in KINDS:
        remedy = did_you_mean(kind, KINDS) if found else "Such as cc:CC-MAIN-2024-10/wet."
        raise DataError("no snapshot of Common Crawl", pattern, remedy)
    return f"{BASE}/crawl-data/{found[1]}/{kind}.paths.gz"


def _chance(path: str) -> bytes:
    return hashlib.sha256(path.encode()).digest()


def _address(listing: str, path: str) -> str:
    # A path is an address, or begins at a folder above the listing (crawl-data/…), or beside it.
    if is_remote(path):
        return path
    parts = urlsplit(listing)
    first = PurePosixPath(path).parts[0]
    above = PurePosixPath(parts.path).parent
    while above.name not in ("", first):
        above = above.parent
    root = above.parent if above.name == first else PurePosixPath(parts.path).parent
    return f"{parts.scheme}://{parts.netloc}{root.as_posix().rstrip('/')}/{path.lstrip('/')}"
