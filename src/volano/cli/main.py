"""The command line: `volano VERB …`. Each group of verbs has a file; work is imported on use.

Nothing here may import torch or even pydantic: `volano --help` answers in a blink.
"""

import errno
import os
import sys
from typing import Annotated

import typer

from volano.cli import (
    ablate,
    chat,
    classifier,
    compare,
    curation,
    dedup,
    feedback,
    forget,
    inspect,
    judging,
    launch,
    ngrams,
    phases,
    plan,
    recipes,
    report,
    run,
    serve,
    turn,
    upkeep,
)
from volano.cli.streams import keep_open

INTERRUPTED = 130
# What a path of the user's may be: in a folder that may not be entered, or no name at all.
NO_WAY = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR}
# What makes artifacts: the finished parts of a stopped one are taken up.
RESUMING = {"run", "turn", "label", "ladder", "--ladder", "ablate", "compare"}
RESUMING |= {verb.__name__ for verb in phases.VERBS}

app = typer.Typer(
    name="volano",
    help="From raw text to an aligned, evaluated language model; every step's data on record.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("volano"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """From raw text to an aligned, evaluated language model; every step's data on record."""


for group in (
    run,
    launch,
    turn,
    report,
    serve,
    feedback,
    phases,
    classifier,
    judging,
    ngrams,
    curation,
    forget,
    dedup,
    plan,
    ablate,
    compare,
    chat,
    inspect,
    upkeep,
    recipes,
):
    group.register(app)


def main() -> None:
    """Run the command line and turn errors into one line and an exit code."""
    streams = keep_open()
    code = run_command(sys.argv[1:])
    if "TORCHELASTIC_RUN_ID" in os.environ:  # the helpers that torchrun has started wait for us
        from volano.train.start import dismiss_helpers

        dismiss_helpers()
    sys.stdout.flush()
    for stream in streams:
        if stream.failure is None:
            continue
        code = code or 1
        if not isinstance(stream.failure, BrokenPipeError):  # head has read what it wanted
            from pathlib import Path

            from volano.core.files import explained

            reason = explained(stream.failure, Path(stream.stream)).what
            _say(f"{stream.stream}: {reason}. The command is done, its output is not all there.")
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command; the exit code: 0 ok, 2 the user's mistake, 3 a gate refused, 130 Ctrl-C,
    1 anything else, such as output that found no reader to its end (which main tells)."""
    from typer.exceptions import TyperException

    from volano.core.errors import VolanoError

    try:
        code = int(app(args=arguments, standalone_mode=False) or 0)
        # Typer turns Ctrl-C into an exit code of its own, and says nothing.
        return _interrupted(arguments) if code == INTERRUPTED else code
    except VolanoError as problem:
        _say(str(problem))
        return problem.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments)
    except typer.Exit as ended:
        return int(ended.exit_code)
    except TyperException as problem:
        message = problem.format_message().strip()
        if message:  # none where the help was printed in its place
            ending = "" if message[-1] in ".?!" else "."
            _say(f"{message}{ending} See `{_command(problem)} --help`.")
        return 2
    except OSError as problem:
        if problem.errno not in NO_WAY or problem.filename is None:
            raise
        _say(f"{problem.filename}: {(problem.strerror or '').lower()}. Name another path.")
        return 2


def _interrupted(arguments: list[str]) -> int:
    verbs = [each for each in arguments if not each.startswith("-")][:2]
    verbs += [each for each in arguments if each == "--ladder"]  # of plan: as good as the word
    if "--plan" in arguments or (verbs[:1] == ["plan"] and not RESUMING.intersection(verbs)):
        _say("the plan was stopped. Nothing was made.")
    elif RESUMING.intersection(verbs):
        _say("stopped. Run the same command again: it goes on where it stopped.")
    else:
        _say("stopped.")
    # CPython remembers that Ctrl-C once left code run by exec() (a dataclass is made so), caught or
    # not, and would end by signal where we give an exit code. It forgets when exec() runs again.
    exec("")
    return INTERRUPTED


def _command(problem: Exception) -> str:
    """The command whose arguments were wrong, as the user writes it."""
    names: list[str] = []
    context = getattr(problem, "ctx", None)  # none where the mistake is not of the usage
    while context is not None and context.parent is not None:
        names.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(["volano", *names])


def _say(text: str) -> None:
    print(f"volano: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
