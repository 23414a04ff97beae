"""The command `volano` to a shell: asks the warm process for a fork, and ends as that ends."""

import json
import os
import signal
import socket
import sys

HEADER_BYTES = 8


def main() -> int:
    """Returns the exit code of the command; a signal that ended it ends this too."""
    environment, arguments = dict(os.environ), sys.argv[1:]
    address, python = environment.pop("WARM_SOCKET"), environment.pop("WARM_PYTHON")
    imported = json.loads(environment.pop("WARM_IMPORTED"))
    if any(environment.get(name) != value for name, value in imported.items()):
        os.execve(python, [python, "-m", "volano", *arguments], environment)
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": environment}
    text = json.dumps(asked).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [str(len(text)).zfill(HEADER_BYTES).encode()], [0, 1, 2])
    connection.sendall(text)
    answers = connection.makefile("r")
    process = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    code = int(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main())
