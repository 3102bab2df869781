"""The addresses of the page and of its data."""

from pathlib import Path
from urllib.parse import quote

from torch import Tensor

from speechvq import SpeechVQError
from speechvq.extras import needed_for
from speechvq.files import temporary_folder
from speechvq.folder.card import speaker_index
from speechvq.serve.guard import Guard
from speechvq.serve.live import converse, sentence
from speechvq.serve.studio import MAX_BYTES, Recording, Studio, UnknownRecording, wav_bytes

with needed_for("the page", "serve"):
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles
    from starlette.websockets import WebSocket

PAGE = Path(__file__).parent / "page"


def build_app(studio: Studio) -> Starlette:
    """The application around a studio.

    GET /: the page; its scripts and styles are below /page/.
    GET /api/model: the model, its voices and the limits.
    GET /api/samples/VOICE: the model's sample sentence, a .wav.
    POST /api/recordings?name=FILE: the body is an audio file -> its codes.
    GET /api/recordings/KEY/wav?voice=VOICE: the recording, or with a voice its conversion, a .wav.
    GET /api/recordings/KEY/spectrogram?voice=VOICE: the levels of its spectrogram, a byte each.
    GET /api/recordings/KEY/codes?voice=VOICE: its codes, a .svq.
    WebSocket /api/live?voice=VOICE&rate=HZ: samples for samples, float32 (`live.converse`).

    Errors are JSON with one entry, `error`: a sentence.
    """
    addresses = Addresses(studio)
    recording = "/api/recordings/{key}"
    routes = [
        Route("/", _page),
        Route("/api/model", addresses.model),
        Route("/api/samples/{voice}", addresses.sample),
        Route("/api/recordings", addresses.add, methods=["POST"]),
        Route(f"{recording}/wav", addresses.wav),
        Route(f"{recording}/spectrogram", addresses.spectrogram),
        Route(f"{recording}/codes", addresses.codes),
        WebSocketRoute("/api/live", addresses.live),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    handlers = {SpeechVQError: _cannot, HTTPException: _refused, ClientDisconnect: _gone, Exception: _bug}
    return Starlette(routes=routes, middleware=[Middleware(Guard)], exception_handlers=handlers)


class Addresses:
    """The answer at each address."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def model(self, _: Request) -> Response:
        """The model, its voices and the limits."""
        return JSONResponse(self.studio.describe())

    def sample(self, request: Request) -> Response:
        """The model's sample sentence with a voice."""
        return _wav(wav_bytes(self.studio.sample(request.path_params["voice"])), "sample")

    async def add(self, request: Request) -> Response:
        """Take in an audio file."""
        name = Path(request.query_params.get("name", "")).name or "recording"
        with temporary_folder() as folder:
            path, size = folder / "upload", 0
            with path.open("wb") as file:
                async for piece in request.stream():  # to its end, else the browser never reads the answer
                    size += len(piece)
                    if size <= MAX_BYTES:
                        file.write(piece)
            if size > MAX_BYTES:
                raise HTTPException(413, f"“{name}” is larger than {MAX_BYTES // 2**20} MB: cut it.")
            recording = await run_in_threadpool(self.studio.add, path, name)
        return JSONResponse(recording.describe())

    def wav(self, request: Request) -> Response:
        """The recording, or its conversion."""
        recording, voice = self._asked(request)
        name = f"{recording.name}-as-{voice}" if voice else recording.name
        return _wav(wav_bytes(self._spoken(recording, voice)), name)

    def spectrogram(self, request: Request) -> Response:
        """The spectrogram of the recording, or of its conversion."""
        return Response(self.studio.spectrogram(self._spoken(*self._asked(request))))

    def codes(self, request: Request) -> Response:
        """The file of codes."""
        recording, voice = self._asked(request)
        if voice:
            speaker_index(self.studio.codec.speakers, voice)  # a file that names another could not be decoded
        return _file(self.studio.code_file(recording, voice), f"{recording.name}.svq", "application/octet-stream")

    async def live(self, socket: WebSocket) -> None:
        """Convert while the user speaks."""
        await converse(self.studio.codec, socket)

    def _asked(self, request: Request) -> tuple[Recording, str]:
        return self.studio.recording(request.path_params["key"]), request.query_params.get("voice", "")

    def _spoken(self, recording: Recording, voice: str) -> Tensor:
        return self.studio.speak(recording, voice) if voice else recording.wav


def _page(_: Request) -> Response:
    return FileResponse(PAGE / "index.html")


def _wav(data: bytes, stem: str) -> Response:
    return _file(data, f"{stem}.wav", "audio/wav")


def _file(data: bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}
    return Response(data, media_type=kind, headers=headers)


def _cannot(_: Request, error: Exception) -> Response:
    return _error(404 if isinstance(error, UnknownRecording) else 422, str(error))


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)


def _gone(_: Request, __: Exception) -> Response:
    """The browser went away while it sent a file, and reads no answer."""
    return Response(status_code=400)


def _bug(_: Request, error: Exception) -> Response:
    """The traceback is on the terminal."""
    return _error(500, f"This is a bug of speechvq ({type(error).__name__}); the terminal says more")


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": sentence(text)}, status)
