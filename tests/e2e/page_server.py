"""The real API over a made-up planner, on a port of this machine, for a browser to look at.

PYTHONPATH=tests .venv/bin/python tests/e2e/page_server.py --copies 1000 --token secret
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from page_planner import MadeUpPlanner

from planner.api import Security, create_app


class PageServer:
    """Serves a planner from a thread; may be stopped and started again at the same port, as a pod is."""

    def __init__(self, planner: MadeUpPlanner, token_file: Path, port: int = 0) -> None:
        self.planner = planner
        self.port = port
        self._token_file = token_file
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Serve; returns once the port is open."""
        app = create_app(self.planner, None, Security(self._token_file))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="warning", timeout_graceful_shutdown=1, ws="none"
        )
        server = uvicorn.Server(config)
        self._server, self._thread = server, threading.Thread(target=server.run, daemon=True)
        self._thread.start()
        while not server.started:
            if not self._thread.is_alive():
                raise RuntimeError(f"port: {self.port} could not be served; free it")
            time.sleep(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop serving; open streams are cut."""
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join()


def main() -> None:
    """Serve until interrupted, and let an interval pass every so often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--copies", type=int, default=0, help="services beside the five")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two ticks")
    parser.add_argument("--token", default="secret")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        token_file = Path(folder) / "token"
        token_file.write_text(given.token)
        token_file.chmod(0o600)
        server = PageServer(MadeUpPlanner(given.copies), token_file, given.port)
        server.start()
        print(server.url)
        try:
            while True:
                time.sleep(given.every)
                server.planner.advance()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
