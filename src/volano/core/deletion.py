"""What was erased at somebody's wish: a line that names no person and holds no text.

    STORE/deletions.json    every deletion, oldest first

The feedback database erases; it leaves these lines in the store so that lineage can still say which
artifacts and checkpoints hold what was made of an erased event. A document that was forgotten has a
line as well: no collection takes it from then on, whatever file it stands in, until that is taken
back; the line stays and says so.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.lease import lease

FORMAT = 4  # 1 had no follow_ups, 2 no documents, 3 no undone
DELETIONS = "deletions.json"
PLACE = "place-"  # how the line of a document begins whose id says where it stood


@dataclass(frozen=True)
class Deletion:
    """One wish, fulfilled. `subject_sha256` lets whoever knows the pseudonym, the request id or the
    document's id recognise it. It has no salt: whoever tries names finds one that is easy to guess.
    """

    id: str
    time: str
    by: Literal["person", "request", "document"]
    subject_sha256: str
    exchanges: int
    events: tuple[str, ...]  # their ids
    follow_ups: int = 0  # of the exchanges: those that went because they quote another
    text_sha256: str = ""  # of a document: it is known again under another id
    undone: str = ""  # of a document: when it was taken back, and collected again from then on


def add_deletions(store_folder: Path, deletions: Sequence[Deletion]) -> None:
    """Write the deletions that the store does not know yet."""
    path = store_folder / DELETIONS
    with lease(store_folder / f"{DELETIONS}.lease", "deletions"):
        known = {each.id: each for each in read_deletions(store_folder)}
        merged = known | {each.id: each for each in deletions}
        if merged != known:
            lines = sorted(merged.values(), key=lambda each: (each.time, each.id))
            write_json(path, {"format": FORMAT, "deletions": [asdict(each) for each in lines]})


def joined(deletions: Sequence[Deletion]) -> Deletion:
    """Deletions of one person under several names, told as one: the first, with all that went."""
    return replace(
        deletions[0],
        exchanges=sum(each.exchanges for each in deletions),
        events=tuple(event for each in deletions for event in each.events),
        follow_ups=sum(each.follow_ups for each in deletions),
    )


def read_deletions(store_folder: Path) -> list[Deletion]:
    """Every deletion, oldest first. Raises StoreError where the file is damaged or of a newer form:
    without it nobody knows what must stay out."""
    path = store_folder / DELETIONS
    if not path.is_file():
        return []
    damaged = StoreError("what was deleted cannot be read", str(path), "Take it from a backup.")
    try:
        value = read_json(path)
    except StoreError:
        raise damaged from None
    form = value.get("format") if isinstance(value, dict) else None
    if isinstance(form, int) and form > FORMAT:
        what = f"written by a newer Volano (format {form})"
        raise StoreError(what, str(path), "Upgrade Volano to read it.")
    try:
        lines = value["deletions"]
        return [Deletion(**{**each, "events": tuple(each["events"])}) for each in lines]
    except (KeyError, TypeError):
        raise damaged from None


def digest_of(subject: str) -> str:
    """By what a deletion knows an id or a text."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def is_place(document: str) -> bool:
    """Whether an id says where a document stood (crawl.jsonl#17), and not what it is: another
    document stands there once the file has changed."""
    return re.search(r"#[0-9.]+$", document) is not None


def forget_document(store_folder: Path, document: str, text: str) -> Deletion:
    """Leave the line that keeps a document out of every collection to come: by its text, under
    whatever id, and by its id, unless that only says where it stood."""
    digest = digest_of(document)
    known = forgotten_line(store_folder, document)
    if known is not None and not known.undone:
        return known
    now = _now()
    found = Deletion(
        (PLACE if is_place(document) else "document-") + digest[:12],
        now,
        "document",
        digest,
        0,
        (),
        text_sha256=digest_of(text),
    )
    add_deletions(store_folder, [found])
    return found


def forgotten_line(store_folder: Path, document: str) -> Deletion | None:
    """The line of a document that is or was forgotten, by its id or by that of the line."""
    digest = digest_of(document)
    for each in read_deletions(store_folder):
        if each.by == "document" and (each.subject_sha256 == digest or each.id == document):
            return each
    return None


def take_back(store_folder: Path, document: str) -> Deletion:
    """Let collections take a forgotten document again, named by its id or by that of its line.
    Raises StoreError where it is not forgotten."""
    line = forgotten_line(store_folder, document)
    if line is None or line.undone:
        what = "this is not forgotten" if line is None else f"taken back already, {line.undone}"
        raise StoreError(what, document, "What is: volano forget --list.")
    undone = replace(line, undone=_now())
    add_deletions(store_folder, [undone])
    return undone


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def forgotten(store_folder: Path) -> tuple[str, ...]:
    """Digests of the ids and of the texts of all forgotten documents, sorted; of a document whose
    id says where it stood, of its text alone."""
    everything = read_deletions(store_folder)
    found = [each for each in everything if each.by == "document" and not each.undone]
    digests = {each.text_sha256 for each in found if each.text_sha256}
    digests |= {each.subject_sha256 for each in found if not each.id.startswith(PLACE)}
    return tuple(sorted(digests))
