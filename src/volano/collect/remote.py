"""Files that lie elsewhere: https://, s3://, gs:// and all else that fsspec opens.

A listing asks for each file's size and what the other side calls its version (ETag, checksum, time
of change); nothing is fetched for it. A worker fetches one file at a time, reads it, and deletes
it. Credentials are fsspec's own business: none is taken from an address, none is kept or printed.
"""

import errno
import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from volano.collect.section import Format
from volano.collect.suffixes import KNOWN, is_known
from volano.core.errors import DataError, MissingExtra, RunFailed
from volano.core.files import json_digest
from volano.core.step import Entry

CHUNK_BYTES = 1 << 20
SPARE_BYTES = 1 << 28  # left free on the disk beside a fetched file
_REMOTE = re.compile(r"(?!hf:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRET = re.compile(r"sig|token|key|credential|password|secret|auth", re.IGNORECASE)
# What stores call the version of a file, the surest first. A time says less than a checksum.
_VERSIONS = (
    "sha256", "md5Hash", "md5", "content_md5", "checksum", "crc32c", "ETag", "etag", "generation",
    "LastModified", "last_modified", "mtime", "updated", "created",
)  # fmt: skip


def is_remote(pattern: str) -> bool:
    """An address such as s3://bucket/folder, and no path of this machine."""
    return _REMOTE.match(pattern) is not None


def list_remote(url: str, form: Format) -> tuple[list[Entry], Counter[str]]:
    """The files below an address (a file, folder or glob), and suffixes that were passed over.
    Raises DataError where there is none, or where the address holds credentials."""
    shown = _without_secrets(url)
    system, path = _opened(url, shown)
    skipped: Counter[str] = Counter()
    entries = []
    try:
        for each in _meant(system, path, form):
            name = PurePosixPath(urlsplit(each).path if "://" in each else each).name
            if is_known(name, form):
                entries.append(_entry(system, each))
            elif not name.startswith("."):
                skipped[PurePosixPath(name).suffix or "without suffix"] += 1
    except Exception as failure:
        raise _unreachable(failure, shown) from None
    if not entries:
        raise DataError("no file of a known kind", shown, f"Known: {KNOWN}.")
    return entries, skipped


def read_remote(url: str, most_bytes: int) -> bytes:
    """A small file that lies elsewhere, whole. Raises DataError where it cannot be had."""
    shown = _without_secrets(url)
    system, path = _opened(url, shown)
    try:
        with system.open(path, "rb") as stream:
            content: bytes = stream.read(most_bytes + 1)
    except Exception as failure:
        raise _unreachable(failure, shown) from None
    if len(content) > most_bytes:
        raise DataError(f"larger than {most_bytes:,} bytes", shown, "Check the address.")
    return content


@contextmanager
def local_file(entry: Entry, scratch: Path) -> Iterator[Path]:
    """The entry's file on this disk: its own path, or for as long as the block runs a fetched copy.

    Raises OSError where it cannot be fetched, which the engine tries again, and DataError where it
    is not the file that was listed.
    """
    if entry.url is None:
        yield entry.path
        return
    shown = entry.key
    system, path = _opened(entry.url, shown)
    scratch.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(scratch).free < entry.bytes + SPARE_BYTES:
        remedy = "Free some space, or work in another folder with --store."
        raise RunFailed(f"no room for {entry.bytes:,} bytes of {shown}", str(scratch), remedy)
    copy = scratch / PurePosixPath(shown).name
    try:
        _fetch(system, path, copy, shown)
        if _entry(system, path).sha256 != entry.sha256 or copy.stat().st_size != entry.bytes:
            raise DataError("changed since it was listed", shown, "Run again.")
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _fetch(system: Any, path: str, copy: Path, shown: str) -> None:
    try:
        with system.open(path, "rb") as remote, copy.open("wb") as local:
            shutil.copyfileobj(remote, local, CHUNK_BYTES)
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            raise
        raise OSError(errno.EIO, f"cannot be fetched ({_kind(failure)})", shown) from None
    except Exception as failure:
        raise OSError(errno.EIO, f"cannot be fetched ({_kind(failure)})", shown) from None


def _opened(url: str, shown: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        remedy = "Install it: pip install 'volano[remote]'."
        raise MissingExtra(
            "other places are read by fsspec, which is missing", shown, remedy
        ) from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
        return found
    except ImportError as failure:  # fsspec says which package: "Install s3fs to access S3"
        what = "nothing here reads from there"
        words = _first_line(failure).rstrip(".")
        extra = "volano[s3]' has it" if "s3fs" in words else "volano[remote]' has https"
        remedy = f"{words}; pip install '{extra}."
        raise MissingExtra(what, shown, remedy) from None
    except ValueError as failure:
        raise DataError(_first_line(failure), shown, "Check how the address begins.") from None


def _meant(system: Any, path: str, form: Format) -> list[str]:
    if any(mark in path for mark in "*[") or ("?" in path and not path.startswith("http")):
        return sorted(system.glob(path))
    if is_known(PurePosixPath(urlsplit(path).path).name, form) and not system.isdir(path):
        return [path]
    found: list[str] = sorted(system.find(path))
    return [each for each in found if not re.search(r"/\.", each[len(path) :])]


def _entry(system: Any, path: str) -> Entry:
    stated = system.info(path)
    version = next(((key, str(stated[key])) for key in _VERSIONS if stated.get(key)), None)
    size = stated.get("size")
    url = system.unstrip_protocol(path)
    key = url.partition("?")[0] if url.startswith("http") else url
    if version is None or size is None:
        # It says nothing of itself, so it has to be read.
        digest, size = _content_digest(system, path)
    else:
        digest = json_digest([size, *version])
    return Entry(key, Path(PurePosixPath(key).name), int(size), digest, url)


def _content_digest(system: Any, path: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with system.open(path, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _without_secrets(url: str) -> str:
    """The address, if it may be shown. Raises DataError where it holds credentials."""
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    secret = any(_SECRET.search(name) for name, _ in parse_qsl(parts.query))
    if parts.username or parts.password or secret:
        remedy = "Take them out of it; fsspec finds them in the environment or its configuration."
        raise DataError("the address holds credentials, which would be kept", shown, remedy)
    return url.partition("?")[0] if parts.scheme.startswith("http") else url


def _unreachable(failure: Exception, shown: str) -> DataError:
    if isinstance(failure, DataError):
        return failure
    # fsspec calls a web server that cannot be reached a file that is not found.
    cause = failure.__cause__
    if isinstance(cause, Exception) and "Connect" in type(cause).__name__:
        failure = cause
    if isinstance(failure, FileNotFoundError):
        return DataError("no such file or folder", shown, "Check the address.")
    if type(failure).__name__ == "NoCredentialsError":  # of botocore, which need not be there
        remedy = "Give them in the environment, or in the configuration of fsspec."
        return DataError("no credentials were found", shown, remedy)
    if isinstance(failure, PermissionError):
        return DataError("permission denied", shown, "Check your credentials and their rights.")
    what = f"cannot be listed ({_kind(failure)})"
    return DataError(what, shown, "Check the address, the network and your credentials.")


def _kind(failure: Exception) -> str:
    # Not its words: some errors quote addresses that are signed.
    status = getattr(failure, "status", None)
    return f"{type(failure).__name__} {status}" if status else type(failure).__name__


def _first_line(failure: Exception) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0]
