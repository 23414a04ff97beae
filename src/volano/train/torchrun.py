"""torchrun, which tells in one line what went wrong: the scripts of `volano launch` run it.

    python -m volano.train.torchrun --nproc-per-node 2 -m volano run RECIPE

Takes torchrun's own arguments, and ends with the code of the process that failed first.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

STOPPED = 1


def main(arguments: Sequence[str]) -> int:
    """Start and watch the processes; the exit code."""
    # As in volano/__main__.py, and before torch is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.run import get_args_parser
    from torch.distributed.run import main as run

    asked = get_args_parser().parse_args(list(arguments))
    # Its warnings of lost processes stay; that of threads is ours to decide (train/compute.py).
    logging.getLogger("torch.distributed.run").setLevel(logging.ERROR)
    # Until the machines have met, nobody else handles these.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _stopped_before_it_began)
    machines = asked.nnodes.rpartition(":")[2]
    if machines != "1":
        _told(f"meeting the {machines} machines at {asked.rdzv_endpoint} …")
    try:
        run(list(arguments))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode > 0:
            return _told(f"process {rank} ended with code {failure.exitcode}", failure.exitcode)
        what = f"process {rank} was killed by {failure.signal_name()}"
        return _told(f"{what}, after {asked.max_restarts} restarts. Run it again: it resumes.")
    except SignalException as stopped:
        return _told(f"stopped by {stopped.sigval.name}. Run it again: it resumes.")
    except (RendezvousError, RuntimeError, ValueError, OSError) as problem:
        where = f" at {asked.rdzv_endpoint}" if asked.rdzv_endpoint else ""
        cause = problem.__cause__ or problem
        return _told(
            f"the processes could not meet{where} ({str(cause).splitlines()[0]}). "
            "Start the machine of that name first, and see that the others reach its port."
        )
    return 0


def _stopped_before_it_began(number: int, _: object) -> None:
    name = signal.Signals(number).name
    # Past the stream: it may be writing at this moment, and can not be entered twice.
    os.write(2, _line(f"stopped by {name} before all had met. Run it again.").encode())
    sys.exit(STOPPED)


def _told(what: str, code: int = STOPPED) -> int:
    sys.stderr.write(_line(what))
    return code


def _line(what: str) -> str:
    return f"volano: launch: {what}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
