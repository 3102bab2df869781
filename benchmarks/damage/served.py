"""The server of the page, as damaged uploads and requests reach it: through its socket."""

import contextlib
import functools
import http.client
import os
import random
import re
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from websockets.sync.client import connect

from damage.mutations import in_bytes, in_text
from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.serve.server import LocalServer
from speechvq.serve.studio import Studio

PATIENCE = 300  # seconds for an answer
PAUSE = 3.0  # seconds without an answer, after which no more of a request is to come
MESSAGE_BYTES = 4_000  # of samples that are sent at a time
KEY = b"KEY"  # in a request: stands for the key of a recording that is there
HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"
# An .au file of 320 samples at 8 kHz, whose bytes are ASCII.
AUDIO = ".snd\0\0\0\x18\0\0\x01\x40\0\0\0\1\0\0\x1f\x40\0\0\0\1" + "#/" * 160
REQUESTS = {
    "page": f"GET / HTTP/1.1\r\n{HEAD}Range: bytes=0-9, 20-29, -5\r\nIf-Range: x\r\n\r\n",
    "script": f"GET /page/app.js HTTP/1.1\r\n{HEAD}If-None-Match: x\r\nIf-Modified-Since: 0\r\n\r\n",
    "model": f"GET /api/model HTTP/1.1\r\n{HEAD}Origin: http://127.0.0.1\r\nSec-Fetch-Site: none\r\n\r\n",
    "sample": f"GET /api/samples/low HTTP/1.1\r\n{HEAD}\r\n",
    "wav": f"GET /api/recordings/KEY/wav?voice=mid HTTP/1.1\r\n{HEAD}\r\n",
    "spectrogram": f"GET /api/recordings/KEY/spectrogram?voice=low HTTP/1.1\r\n{HEAD}\r\n",
    "codes": f"GET /api/recordings/KEY/codes?voice=low HTTP/1.1\r\n{HEAD}\r\n",
    "upload": f"POST /api/recordings?name=a%20b.wav HTTP/1.1\r\n{HEAD}Content-Length: {len(AUDIO)}\r\n\r\n{AUDIO}",
    "chunked": f"POST /api/recordings?name=x HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    f"{len(AUDIO):x}\r\n{AUDIO}\r\n0\r\n\r\n",
    "socket": f"GET /api/model HTTP/1.1\r\n{HEAD}Upgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n",
}


def write_requests(folder: Path) -> None:
    """Write a request for each address."""
    folder.mkdir()
    for name, request in REQUESTS.items():
        (folder / f"{name}.http").write_bytes(request.encode())


def in_request(rng: random.Random, data: bytes) -> bytes:
    """Changes of a request."""
    return rng.choice((in_bytes, in_text))(rng, data)


@functools.cache
def _server(process: int, model: Path) -> tuple[str, int]:
    """Host and port of a server in a thread of a process."""
    server = LocalServer(Studio(Codec.load(model), model), 0)
    threading.Thread(target=server.run, daemon=True).start()
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    return address.hostname, address.port


def _asked(folder: Path, method: str, address: str, body: bytes | None = None) -> bytes:
    """The answer. Raises SpeechVQError if the request is refused, RuntimeError if the server fails."""
    connection = http.client.HTTPConnection(*_server(os.getpid(), folder.parent / "inputs" / "model"), PATIENCE)
    try:
        connection.request(method, address, body)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    _check([answer.status], data)
    return data


def _check(statuses: list[int], data: bytes) -> None:
    if any(status >= 500 for status in statuses):
        raise RuntimeError(f"{statuses}: {data[-200:]!r}")
    if any(status >= 400 for status in statuses):
        raise SpeechVQError(f"{statuses}: {data[-200:]!r}")


def upload(folder: Path, path: Path) -> bytes:
    """Upload a recording, and ask for all that the page shows of it."""
    answer = _asked(folder, "POST", f"/api/recordings?name={path.name}", path.read_bytes())
    key = re.search(rb'"key":"([^"]+)"', answer)
    assert key is not None
    address = f"/api/recordings/{key[1].decode()}"
    return b"".join(
        _asked(folder, "GET", f"{address}/{part}") for part in ("wav", "spectrogram", "codes", "wav?voice=low")
    )


@functools.cache
def _recording(process: int, folder: Path) -> bytes:
    """The key of a recording that is kept."""
    answer = _asked(folder, "POST", "/api/recordings?name=x", (folder.parent / "inputs/audio/x.wav").read_bytes())
    key = re.search(rb'"key":"([^"]+)"', answer)
    assert key is not None
    return key[1]


def converse(folder: Path, path: Path) -> None:
    """Send the bytes of samples to live conversion, message by message.

    Raises SpeechVQError if one is refused, RuntimeError if what is answered is no sound.
    """
    host, port = _server(os.getpid(), folder.parent / "inputs" / "streaming")
    data = path.read_bytes()
    with connect(f"ws://{host}:{port}/api/live?voice=low&rate=16000", close_timeout=PATIENCE) as talk:
        talk.recv(PATIENCE)
        for start in range(0, len(data), MESSAGE_BYTES):
            talk.send(data[start : start + MESSAGE_BYTES])
            answer = talk.recv(PATIENCE)
            if isinstance(answer, str):
                raise SpeechVQError(answer)
            if not np.isfinite(np.frombuffer(answer, "<f4")).all():
                raise RuntimeError("samples that are NaN or infinite")


def request(folder: Path, path: Path) -> bytes:
    """Send the bytes of a request, and no more."""
    data = path.read_bytes().replace(KEY, _recording(os.getpid(), folder))
    parts = []
    with (
        socket.create_connection(_server(os.getpid(), folder.parent / "inputs" / "model"), PATIENCE) as connection,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),  # the server closes what it does not read
    ):
        connection.sendall(data)
        connection.settimeout(PAUSE)
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(2**16):
                parts.append(part)
        connection.settimeout(PATIENCE)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(2**16):
            parts.append(part)
    answer = b"".join(parts)
    _check([int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)], answer)
    return answer
