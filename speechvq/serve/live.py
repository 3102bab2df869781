"""Live conversion over a WebSocket."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np
import soxr

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.codec.streaming import Streamer
from speechvq.extras import needed_for

with needed_for("the page", "serve"):
    from starlette.concurrency import run_in_threadpool
    from starlette.websockets import WebSocket, WebSocketDisconnect

MAX_LATENCY = 0.2  # of the model, in seconds
MAX_LIVE_SECONDS = 3600
MAX_MESSAGE_SECONDS = 2.0


def live_streamer(codec: Codec, voice: str, rate: int, longest: float = MAX_LATENCY) -> Streamer:
    """The stream that waits for as many codes as a latency of `longest` seconds allows, or for none.

    Arguments and errors as of `LiveStream`.
    """
    stream = codec.streamer(voice, rate)
    while stream.lookahead and stream.latency > longest * stream.sample_rate:
        stream = codec.streamer(voice, rate, lookahead=stream.lookahead - 1)
    return stream


class LiveStream:
    """Samples of a microphone in, samples at the same rate with another voice out.

    codec: the model.
    voice: one of its speakers.
    rate: of the samples, in Hz.

    latency: of the model, in seconds (`Streamer.latency`); computation comes to it, and resampling if the rate is not
        the model's.

    Raises SpeechVQError if there is no such voice or rate, or the model does not convert in a stream.
    """

    def __init__(self, codec: Codec, voice: str, rate: int) -> None:
        self.rate = rate
        self._streamer = live_streamer(codec, voice, rate)
        self._given = 0
        resampled = rate != codec.sample_rate
        self._resampler = soxr.ResampleStream(codec.sample_rate, rate, 1, dtype="float32") if resampled else None
        self.latency = self._streamer.latency / codec.sample_rate

    def push(self, data: bytes) -> bytes:
        """The samples that are known with the next samples, float32 with the lowest byte first; often none.

        Raises SpeechVQError if they are no samples, too many at a time, or an hour has passed.
        """
        if len(data) % 4 or len(data) > 4 * MAX_MESSAGE_SECONDS * self.rate:
            raise SpeechVQError(f"a message is float32 samples, of {MAX_MESSAGE_SECONDS:g} s at most")
        self._given += len(data) // 4
        if self._given > MAX_LIVE_SECONDS * self.rate:
            raise SpeechVQError("live conversion ends after an hour: start it again")
        wav: Any = self._streamer.push(np.frombuffer(data, "<f4").copy()).numpy()
        if self._resampler is not None:
            wav = self._resampler.resample_chunk(wav)
        converted: bytes = wav.astype("<f4").tobytes()
        return converted


async def converse(codec: Codec, socket: WebSocket) -> None:
    """Answer a WebSocket until it closes.

    The first message is a JSON object with `latency` in seconds, then samples are answered with samples (`LiveStream`).
    At an error, the last message is a JSON object with `error`, a sentence.
    """
    await socket.accept()
    with suppress(WebSocketDisconnect):  # the page has gone
        try:
            query = socket.query_params
            rate = query.get("rate", "")
            if not (rate.isdecimal() and len(rate) < 10):
                raise SpeechVQError("live conversion needs the rate of its samples")
            stream = await run_in_threadpool(LiveStream, codec, query.get("voice", ""), int(rate))
            await socket.send_json({"latency": stream.latency})
            async for data in _messages(socket):
                await socket.send_bytes(await run_in_threadpool(stream.push, data))
        except SpeechVQError as error:
            await socket.send_json({"error": sentence(str(error))})
            await socket.close()


async def _messages(socket: WebSocket) -> AsyncIterator[bytes]:
    """The messages that come, to the end; text as its bytes."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        yield message.get("bytes") or (message.get("text") or "").encode()


def sentence(text: str) -> str:
    """A text with a capital at the beginning and a full stop at the end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
