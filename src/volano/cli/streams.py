"""Output that nobody reads any more, or that has no room, does not end the work.

`volano curate … --out clean/ | head` is asked for the folder as well as for the lines: what follows
the last line that was read is thrown away, and the exit code tells it once all is done.
"""

import io
import os
import sys
from typing import Any, TextIO


def keep_open() -> list["Stream"]:
    """Put streams that outlive their reader in the place of stdout and stderr; gives them."""
    kept = []
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by whoever started us, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (for as long as we run)
            continue
        raw = Stream(stream.fileno(), name)
        lasting = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=name == "stderr" or stream.isatty(),
        )
        setattr(sys, name, lasting)
        kept.append(raw)
    return kept


class Stream(io.FileIO):
    """A file descriptor that takes everything; `failure` says why it was not written, if it was
    not."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.stream = name
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write what goes in one call, or throw all away once one has failed."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as failure:
                self.failure = failure
        return memoryview(data).nbytes
