"""Clients that are ready: the suite starts one for each scenario, all at once, and importing ours takes seconds.

This process imports it once, and forks for every `ask.py`: `AT_ONCE` at the same time, the others wait.
"""

import json
import os
import socket
import sys
from typing import Final

from tests.conformance.driver import run

AT_ONCE: Final = 3


def be_the_client(asking: socket.socket, descriptors: list[int], asked: bytes) -> None:
    """Do in the place of who asks what it was started for; ends this process."""
    status = 1
    try:
        for target, descriptor in enumerate(descriptors, 1):
            os.dup2(descriptor, target)
        start = json.loads(asked)
        os.environ.clear()
        os.environ.update(start["environ"])
        status = run(start["url"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        asking.sendall(bytes([status]))
        os._exit(status)


def main(path: str) -> None:
    running = 0
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(100)
        while True:
            asking, _ = listening.accept()
            with asking:
                length, descriptors, _, _ = socket.recv_fds(asking, 4, 2)
                with asking.makefile("rb") as sent:
                    asked = sent.read(int.from_bytes(length, "big"))
                if running == AT_ONCE:
                    os.wait()
                    running -= 1
                if os.fork() == 0:
                    be_the_client(asking, descriptors, asked)
                running += 1
                for descriptor in descriptors:
                    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1])
