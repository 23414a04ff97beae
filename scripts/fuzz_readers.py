#!/usr/bin/env python3
"""Looks for bytes that a reader of `volano collect` cannot cope with, guided by coverage.

    pip install atheris
    python scripts/fuzz_readers.py a.jsonl.gz SEEDS… [--seconds 60] [--format auto] [--finds FOLDER]

The name decides the reader, as it does for `collect`; SEEDS are small files of that kind to begin
with. A finding is an input from which a reader raises what is no error of `volano.core.errors`,
gives a document that a corpus cannot hold, or gives other records when it goes on at a cursor than
when it reads on; atheris writes it down and stops. Readers that give a file to a child process
(wiki, EPUB, PDF) are fuzzed on this side of it alone.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 14


def main() -> None:
    """Fuzz one reader for a while; atheris ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="a name of the kind of file, such as a.warc.gz")
    parser.add_argument("seeds", nargs="+", type=Path, help="small files of that kind")
    parser.add_argument("--seconds", type=int, default=60, help="how long, default 60")
    parser.add_argument("--format", default="auto", help="as collect.format has it")
    parser.add_argument("--finds", type=Path, default=Path(), help="where findings are written")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed. Install it: pip install atheris")
    import volano.text.main_text  # noqa: F401
    from volano.text import kernels

    kernels.warm_up(groups=["pages"])  # before: numba cannot compile what is instrumented
    with atheris.instrument_imports(include=["volano.collect", "volano.core"]):
        from volano.collect.formats import read_entries  # noqa: F401
    folder = Path(tempfile.mkdtemp(prefix="volano-fuzz-"))
    seeds = folder / "seeds"
    seeds.mkdir()
    for place, path in enumerate(options.seeds):
        (seeds / f"{place}").write_bytes(path.read_bytes()[:MAX_BYTES])
    options.finds.mkdir(parents=True, exist_ok=True)

    def try_one(content: bytes) -> None:
        check(content, folder / options.name, options.format)

    flags = [f"-max_total_time={options.seconds}", f"-max_len={MAX_BYTES}", "-timeout=30"]
    flags += [f"-artifact_prefix={options.finds}/", str(seeds)]
    atheris.Setup([sys.argv[0], *flags], try_one)
    atheris.Fuzz()


def check(content: bytes, path: Path, form: str = "auto") -> None:
    """Read a file of these bytes, whole and again from behind a document in its midst, as a run
    does that was killed: only there is a cursor kept."""
    from volano.core.errors import VolanoError
    from volano.core.records import Document

    path.write_bytes(content)
    try:
        whole = _read(path, form, None)
    except VolanoError:
        return
    places = [place for place, (_, made) in enumerate(whole) if isinstance(made, Document)]
    if places:
        place = places[len(places) // 2]
        state, _ = whole[place]
        rest = _read(path, form, state)
        assert rest == whole[place + 1 :], f"resumed at {state}: {rest}"


def _read(path: Path, form: str, state: str | None) -> list[tuple[str, Any]]:
    from volano.collect.formats import read_entries
    from volano.collect.readers.fields import Cursor, DocumentMaker, Fields
    from volano.collect.section import CollectSection
    from volano.core.jsonlines import Problem, quarantine_table
    from volano.core.records import Document, table_of
    from volano.core.step import Entry

    settings = CollectSection.model_validate({"source": "files", "paths": ["."], "format": form})
    maker = DocumentMaker.of(settings)
    cursor = Cursor(None if state is None else json.loads(state))
    entry = Entry(path.name, path, path.stat().st_size, "")
    found = []
    for read in read_entries([entry], settings, path.parent / "scratch", cursor):
        made = maker.document(read) if isinstance(read, Fields) else read
        found.append((json.dumps(cursor.state), made))
    documents = [made for _, made in found if isinstance(made, Document)]
    table_of(documents, Document).validate(full=True)
    quarantine_table([made for _, made in found if isinstance(made, Problem)])
    return found


if __name__ == "__main__":
    main()
