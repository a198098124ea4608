"""A server that nothing but a kill ends, and that starts two like it: one in its group, one apart from it.

The argument is the file that gets a line with the pids of all three.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

STAY = "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(3600)"

for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(ignored, signal.SIG_IGN)
children = [subprocess.Popen([sys.executable, "-c", STAY], start_new_session=apart) for apart in (False, True)]
with Path(sys.argv[1]).open("a") as file:
    file.write(" ".join(str(pid) for pid in (os.getpid(), *(child.pid for child in children))) + "\n")
server = MCPServer("stubborn")


@server.tool()
def process() -> int:
    """Tell who answers."""
    return os.getpid()


server.run()
while True:
    signal.pause()
