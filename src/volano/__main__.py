"""The door: what the command `volano` and `python -m volano` run.

The verbs take a moment to import, longer from a cold disk. Ctrl-C in that moment has nothing to
clean up, and within an import it would leave as whatever the import makes of it; so it ends here.
"""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
# Of processes that do not find each other torch tells a page of its own code. It reads this when it
# is imported; what went wrong is an error in Python besides.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")


def main() -> None:
    """Run the command line."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not where whoever started us has it ignored
        signal.signal(signal.SIGINT, _stop)
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0":
        # torchrun starts the command many times over; one runs it, the others help it to train.
        from volano.train.helper import main as help_training

        help_training()
        return
    from volano.cli.main import main as run_command_line

    signal.signal(signal.SIGINT, usual)
    run_command_line()


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"volano: stopped.\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
