"""The socket on this computer, and the server on it."""

import os
import socket
from contextlib import suppress

from speechvq import SpeechVQError
from speechvq.extras import needed_for
from speechvq.serve.app import build_app
from speechvq.serve.studio import Studio

with needed_for("the page", "serve"):
    import uvicorn

HOST = "127.0.0.1"  # of this computer alone


class LocalServer:
    """A server that only this computer reaches.

    studio: what it serves.
    port: 0 for any that is free.

    url: the address of the page.

    Raises SpeechVQError if the port is in use or not allowed.
    """

    def __init__(self, studio: Studio, port: int) -> None:
        self._socket = socket.socket()
        if os.name == "posix":  # elsewhere it would take the port from another program
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
            self._socket.listen()  # who asks before `run` waits
        except OSError as error:
            self._socket.close()
            raise SpeechVQError(f"port {port}: {error.strerror}; choose another (--port)") from None
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}/"
        settings = uvicorn.Config(
            build_app(studio), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(settings)

    def run(self) -> None:
        """Serve until `stop`, or until the process is interrupted."""
        with suppress(KeyboardInterrupt):  # the usual end
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True
