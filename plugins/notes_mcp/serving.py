"""Serves an MCP server to the client that started the process (stdio), or over streamable HTTP.

The plugins here hold the same copy of this file, so that each can be taken, read and changed by itself.
"""

import argparse
import signal
import socket
import sys
from types import FrameType
from typing import Any

import anyio
from mcp.server import MCPServer

HTTP_PATH = "/mcp"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# How long the answers in flight may take after a signal; open event streams end with it.
SECONDS_TO_FINISH = 2


def add_transport_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `serve` reads."""
    parser.add_argument(
        "--transport",
        choices=("stdio", "streamable-http"),
        default="stdio",
        help="how clients reach the server (default: stdio)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on with streamable-http (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        help="port to listen on with streamable-http; 0, the default, takes a free one and tells it on stderr",
    )


def serve(server: MCPServer[Any], options: argparse.Namespace) -> None:
    """Serves until the client leaves (stdio) or a signal ends it (streamable HTTP).

    Raises:
        OSError: the address cannot be listened on.
    """
    if options.transport == "stdio":
        # A thread blocks in reading stdin: only the default action of Ctrl-C ends the process at once, and without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        anyio.run(server.run_stdio_async)
    else:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)
        with _listen(options.host, options.port) as listener:
            anyio.run(_serve_http, server, options.host, listener)


async def _serve_http(server: MCPServer[Any], host: str, listener: socket.socket) -> None:
    # Not at the top: a client that starts many stdio servers should not wait for a web server to be imported.
    import uvicorn

    app = server.streamable_http_app(streamable_http_path=HTTP_PATH, host=host)
    config = uvicorn.Config(app, ws="none", log_level="warning", timeout_graceful_shutdown=SECONDS_TO_FINISH)
    port: int = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    # The socket listens already: a client that reads this line can connect.
    _tell(f"{server.name}: listening on http://{shown}:{port}{HTTP_PATH}")
    if host not in LOOPBACK:
        _tell(f"{server.name}: whoever reaches {host} can use it, there is no authentication")
    await uvicorn.Server(config).serve(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port
