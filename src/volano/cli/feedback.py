"""`volano feedback`: logs in, logs out, what is there, and what somebody wants erased."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

if TYPE_CHECKING:
    from volano.feedback.database import Database

SHOWN_PROBLEMS = 5
SHOWN_EVENTS = 100
EXCERPT_CHARACTERS = 48

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="VOLANO_DATABASE_URL",
        help="A SQLite file or postgresql://USER@HOST/DATABASE; without: feedback.sqlite in the "
        "store.",
    ),
]
Who = Annotated[
    str | None, typer.Option("--who", help="Only of this person: the name, or what `list` shows.")
]
Request = Annotated[str | None, typer.Option("--request", help="Only of this request id.")]
Kind = Annotated[
    str | None, typer.Option("--kind", help="Only rating, thumb, edit, choice or flag.")
]
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", help="Only of checkpoints whose name begins so.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only from this time on (ISO 8601).")]
Raw = Annotated[bool, typer.Option("--raw", help="With personal data, which is else redacted.")]

app = typer.Typer(
    name="feedback",
    help="What people say of answers: import and export logs, list, delete.",
    no_args_is_help=True,
)


def register(main: typer.Typer) -> None:
    """Add the verbs of this file."""
    main.add_typer(app)


@app.command("import")
def import_(
    logs: Annotated[list[str], typer.Argument(help="JSONL files (.gz, .zst), patterns in quotes.")],
    database: DatabaseOption = "",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Add logs: our own exports, or OpenAI-style requests with responses."""
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line
    from volano.core.progress import progress

    _require()
    from volano.feedback.logs import count_lines, import_logs
    from volano.study.words import count_of

    with (
        _opened(database, store, create=True) as opened,
        progress("import", count_lines(logs), "lines", silent=json) as bar,
    ):
        result = import_logs(opened, logs, bar.advance)
    if json:
        print_json(asdict(result))
        return
    print_line(
        f"{count_of(result.lines, 'line')}: {count_of(result.exchanges, 'new exchange')}, "
        f"{count_of(result.events, 'new event')}, {result.known:,} known before, "
        f"{result.erased:,} erased before, {len(result.problems):,} bad"
    )
    for problem in result.problems[:SHOWN_PROBLEMS]:
        print_line(f"    {problem.where}: {problem.reason}")
    if len(result.problems) > SHOWN_PROBLEMS:
        print_line(f"    and {len(result.problems) - SHOWN_PROBLEMS:,} more; all: --json")


@app.command()
def export(
    out: Annotated[Path | None, typer.Option("--out", help="File to write; else stdout.")] = None,
    raw: Raw = False,
    who: Who = None,
    request: Request = None,
    kind: Kind = None,
    checkpoint: Checkpoint = None,
    since: Since = None,
    database: DatabaseOption = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write exchanges with their events as JSONL, personal data redacted."""
    import json
    import sys
    from dataclasses import replace

    from volano.core.files import atomic_path
    from volano.core.progress import progress

    _require()
    from volano.feedback.export import export_lines
    from volano.feedback.selection import Selection

    selection = Selection(who, request, kind, checkpoint, since)
    with _opened(database, store) as opened:
        if who is not None:
            selection = replace(selection, who=opened.person(who))
        lines = (
            f"{json.dumps(line, ensure_ascii=False)}\n"
            for line in export_lines(opened, selection, raw=raw)
        )
        if out is None:
            sys.stdout.writelines(lines)
            return
        with (
            atomic_path(out) as unfinished,
            unfinished.open("w", encoding="utf-8") as stream,
            progress("export", opened.count(selection), "exchanges") as bar,
        ):
            for line in lines:
                stream.write(line)
                bar.advance()


@app.command("list")
def list_(
    who: Who = None,
    request: Request = None,
    kind: Kind = None,
    checkpoint: Checkpoint = None,
    since: Since = None,
    raw: Raw = False,
    last: Annotated[
        int | None,
        typer.Option("--last", min=0, help="Only so many; 0: all. A table has 100, JSON all."),
    ] = None,
    database: DatabaseOption = "",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """List the last events, oldest first, personal data redacted."""
    from collections import deque
    from dataclasses import replace

    from volano.cli.output import print_json, print_line, print_table, time_of_day
    from volano.core.feedback import TRAINING

    _require()
    from volano.feedback.export import told
    from volano.feedback.ratings import Judged, may_train
    from volano.feedback.selection import Selection

    selection = Selection(who, request, kind, checkpoint, since)
    with _opened(database, store) as opened:
        if who is not None:
            selection = replace(selection, who=opened.person(who))
        most = last if last is not None else 0 if json else SHOWN_EVENTS
        count, found = 0, deque[Any](maxlen=most or None)
        for each in opened.events(selection):
            count += 1
            found.append(each)
        rows = [
            {**told(event, raw=raw), "exchange": told(exchange, raw=raw)}
            for event, exchange, _ in found
        ]
        people = opened.consents()
        agreed = [may_train(Judged(*each), people) for each in found]
    if json:
        print_json(rows)
        return
    by = "time, request, who, source"
    print_table(
        [by, "checkpoint", "said", "asked", "consent"],
        [
            (
                # Side by side they are too wide.
                "\n".join((time_of_day(row["time"]), row["request_id"], _said_by(row))),
                row["exchange"]["checkpoint"],
                f"{row['kind']}: {_excerpt(_said(row))}",
                _excerpt(row["exchange"]["messages"][-1]["content"]),
                TRAINING if learnable else "",
            )
            for row, learnable in zip(rows, agreed, strict=True)
        ],
        whole=[by],
    )
    shown = f", the last {len(rows):,} shown; all: --last 0" if len(rows) < count else ""
    print_line(f"{count:,} event{'' if count == 1 else 's'}{shown}")


@app.command()
def delete(
    person: Annotated[
        str | None,
        typer.Option("--person", help="Erase all of this person: the name, or what `list` shows."),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option("--request", help="Erase this request, what quotes it, and all events."),
    ] = None,
    database: DatabaseOption = "",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Erase feedback, and say which artifacts hold records that were made of it.

    Follow-ups that quote an erased prompt and its answer are erased with it.
    """
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table
    from volano.core.deletion import add_deletions, joined
    from volano.core.errors import DataError
    from volano.core.feedback import FEEDBACK
    from volano.core.lineage import trace_any
    from volano.core.store import Store

    if (person is None) == (request is None):
        raise DataError("erase whom?", "feedback delete", "Give --person or --request.")
    artifacts = Store(store)
    with _opened(database, store) as opened:
        if person is not None:
            names = opened.people(person) or [person]
            deletion = joined([opened.erase_person(each) for each in names])
        else:
            deletion = opened.erase_request(str(request))
        # All of them: an earlier one may have been stopped between its erasing and this line.
        add_deletions(artifacts.folder, opened.deletions())
    sightings = trace_any(artifacts, [f"{FEEDBACK}{event}" for event in deletion.events])
    if json:
        print_json({**asdict(deletion), "artifacts": [asdict(each) for each in sightings]})
        return
    quoting = f" ({deletion.follow_ups:,} of them quoted another)" if deletion.follow_ups else ""
    print_line(
        f"exchanges erased: {deletion.exchanges:,}{quoting}, events: {len(deletion.events):,}"
    )
    if not sightings:
        print_line("No artifact of the store holds records that were made of them.")
        return
    print_table(
        ["artifact", "kind", "", "detail"],
        [(each.artifact, each.kind, each.role, each.detail) for each in sightings],
        title="made of them, and still there",
    )
    print_line(
        "Make them anew without these events, then delete them: volano clean --forget-history "
        "(a release could else go back to them)"
    )
    pages = sorted((artifacts.folder / "reports").glob("*.html"))
    if pages:
        print_line(f"Pages may quote them too: make anew with volano report, or delete {pages[0]}")


@contextmanager
def _opened(url: str, store: Path, *, create: bool = False) -> Iterator["Database"]:
    _require()
    from volano.core.errors import StoreError
    from volano.core.feedback import default_database
    from volano.feedback.database import Database

    if not url and store.exists() and not store.is_dir():
        raise StoreError("this is no folder", str(store), "Name a folder with --store.")
    database = Database.open(url or default_database(store), create=create)
    try:
        yield database
    finally:
        database.close()


def _require() -> None:
    from volano.study.serving import require_extra

    require_extra()


def _said_by(row: dict[str, Any]) -> str:
    # Of both, or a person's word on what a scripted user asked would hide that one.
    source, asked = _excerpt(row["source"]), _excerpt(row["exchange"]["source"])
    shown = source if source == asked else f"{source} (asked: {asked})"
    return ", ".join(filter(None, (row.get("who"), shown)))


def _said(row: dict[str, Any]) -> str:
    stars = [f"{name} {row[name]}" for name in ("helpful", "harmless", "honest") if name in row]
    others = [str(row[name]) for name in ("thumb", "choice", "edit", "comment") if name in row]
    return ", ".join([*stars, *others])


def _excerpt(text: str) -> str:
    # One line, and nothing in it that a terminal would obey.
    plain = "".join(each if each.isprintable() else " " for each in text)
    plain = " ".join(plain.split())
    cut = plain[:EXCERPT_CHARACTERS]
    return cut if cut == plain else f"{cut}…"
