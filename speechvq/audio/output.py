"""The last steps before decoded speech is written: its loudness and its sample rate."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import resampled
from speechvq.audio.level import Meter

READ_BACK = 2**20  # samples at once


@dataclass(frozen=True)
class OutputAudio:
    """How decoded speech is written.

    sample_rate: in Hz.
    loudness: in LUFS, or as near as a peak of 0.99 allows; None leaves it as it was decoded.
    """

    sample_rate: int = SAMPLE_RATE
    loudness: float | None = None

    def finished(self, wavs: Iterable[Tensor]) -> Iterator[Tensor]:
        """A wav at 16 kHz that comes in pieces (T_i,), at the loudness and the sample rate, in pieces.

        A wav is kept in a temporary file while its loudness is measured, so that memory does not grow with it.
        """
        if self.loudness is None:
            yield from resampled(wavs, SAMPLE_RATE, self.sample_rate)
            return
        with tempfile.TemporaryFile(prefix="speechvq-") as file:
            gain = Meter(_kept(wavs, file)).gain(self.loudness)
            file.seek(0)
            yield from resampled((wav * gain for wav in _read_back(file)), SAMPLE_RATE, self.sample_rate)


AS_DECODED = OutputAudio()


def _kept(wavs: Iterable[Tensor], file: IO[bytes]) -> Iterator[Tensor]:
    for wav in wavs:
        if len(wav):
            file.write(wav.float().numpy().tobytes())
            yield wav


def _read_back(file: IO[bytes]) -> Iterator[Tensor]:
    while data := file.read(4 * READ_BACK):
        yield torch.from_numpy(np.frombuffer(data, np.float32).copy())
