"""The program that the suite starts as its client: it has a process that is ready do the work. See `ready.py`.

Run without site packages, so that it takes as long as Python itself to start.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as ready:
    ready.connect(sys.argv[1])
    asked = json.dumps({"url": sys.argv[-1], "environ": dict(os.environ)}).encode()
    socket.send_fds(ready, [len(asked).to_bytes(4, "big")], [1, 2])
    ready.sendall(asked)
    status = ready.recv(1)
sys.exit(status[0] if status else 1)
