"""Recordings of the page, and what the model computes of them."""

import io
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from speechvq import SpeechVQError, __version__
from speechvq.audio.features import LogMel
from speechvq.audio.io import read_pieces
from speechvq.audio.level import DITHER, normalize_loudness
from speechvq.codec import Codec, Encoded
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.coders import Static
from speechvq.folder.description import known

MAX_SECONDS = 60  # of a recording
MAX_BYTES = 32 * 2**20  # of an uploaded file
MAX_RECORDINGS = 12  # kept at a time; the oldest is forgotten first
NEAREST_OF = 16  # voices that are compared with a recording
RANGE_DB = 70.0  # of a spectrogram
SAMPLE_FILE = "sample.svq"  # of a model folder: codes of a sentence, with which its voices introduce themselves


class UnknownRecording(SpeechVQError):
    """The recording was forgotten, or never there."""


@dataclass(frozen=True)
class Recording:
    """An encoded recording.

    key: random name in addresses.
    name: of the uploaded file, without its suffix.
    wav: (T,) at 16 kHz.
    encoded: its codes.
    bits: (N,) that each code takes in a file.
    size: bytes of the file of codes.
    nearest: the voice of the model that is nearest to it.
    spoken: decoded wavs (T,) by voice.
    """

    key: str
    name: str
    wav: Tensor
    encoded: Encoded
    bits: np.ndarray
    size: int
    nearest: str
    spoken: dict[str, Tensor] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.wav) / Codec.sample_rate

    def describe(self) -> dict[str, Any]:
        """The recording as the page shows it, for JSON."""
        return {
            "key": self.key,
            "name": self.name,
            "seconds": self.seconds,
            "codes": self.encoded.codes.tolist(),
            "bits": [round(float(bits), 2) for bits in self.bits],
            "bytes": self.size,
            "nearest": self.nearest,
        }


class Studio:
    """A model, and the latest recordings. Every method may be called from any thread.

    codec: the model.
    folder: the model's folder, where the codes of a sample sentence may be.

    Raises SpeechVQError if the model has no voice.
    """

    def __init__(self, codec: Codec, folder: Path) -> None:
        _ = codec.model.speech_decoder
        self.codec, self.name = codec, folder.name
        self._files = CodeFiles(codec)
        self._coder = self._files.coder()
        self._mel = LogMel()
        self._recordings: OrderedDict[str, Recording] = OrderedDict()
        self._samples: dict[str, Tensor] = {}
        self._lock = Lock()
        self._sentence = self._read_sentence(folder / SAMPLE_FILE)

    def describe(self) -> dict[str, Any]:
        """The model as the page shows it, for JSON."""
        alphabet = self.codec.alphabet
        seconds = alphabet.hop_length / self.codec.sample_rate
        return {
            "model": self.name,
            "version": __version__,
            "codes": alphabet.codes,
            "code_seconds": seconds,
            "bit_per_s": float(np.log2(alphabet.codes) / seconds),
            "voices": [self._voice(name) for name in self.codec.speakers],
            "has_samples": self._sentence is not None,
            "max_seconds": MAX_SECONDS,
            "max_bytes": MAX_BYTES,
            "bands": self._mel.channels,
            "frame_seconds": self._mel.hop / self.codec.sample_rate,
            "sample_rate": self.codec.sample_rate,
            "live": self._converts_live(),
        }

    def add(self, path: Path, file_name: str) -> Recording:
        """Read and encode an uploaded file.

        file_name: what the user calls it.

        Raises SpeechVQError if it is not audio, too long or silent.
        """
        try:
            wav = torch.cat([*self._not_too_long(path)])
        except SpeechVQError as error:
            raise SpeechVQError(str(error).replace(str(path), f"“{file_name}”")) from None
        if wav.abs().max() <= DITHER:
            raise SpeechVQError(f"“{file_name}” is silent: check the microphone, or choose another file")
        with self._lock:
            codes = self.codec.encode(wav, self.codec.sample_rate)
            encoded = Encoded(codes, len(wav), self.codec.alphabet)
            size = len(pack(encoded, self._coder))
            spoken = {name: self._decode(encoded, name) for name in self._candidates()}
            nearest = self._nearest(wav, spoken)
            name = Path(file_name).stem or "recording"
            kept = {nearest: spoken[nearest]}
            recording = Recording(secrets.token_urlsafe(12), name, wav, encoded, self._bits(codes), size, nearest, kept)
            self._recordings[recording.key] = recording
            while len(self._recordings) > MAX_RECORDINGS:
                self._recordings.popitem(last=False)
        return recording

    def recording(self, key: str) -> Recording:
        """A recording that is still kept; raises UnknownRecording."""
        with self._lock:
            if key not in self._recordings:
                raise UnknownRecording("this recording is no longer kept: record or upload it again")
            self._recordings.move_to_end(key)
            return self._recordings[key]

    def speak(self, recording: Recording, speaker: str) -> Tensor:
        """The recording with the voice of a speaker, as long as the recording (T,)."""
        with self._lock:
            if speaker not in recording.spoken:
                recording.spoken[speaker] = self._decode(recording.encoded, speaker)
            return recording.spoken[speaker]

    def sample(self, speaker: str) -> Tensor:
        """The model's sample sentence with the voice of a speaker (T,).

        Raises SpeechVQError if the model comes without one.
        """
        with self._lock:
            if self._sentence is None:
                raise SpeechVQError("this model has no sample sentence: record or upload speech, then choose a voice")
            if speaker not in self._samples:
                self._samples[speaker] = self._decode(self._sentence, speaker)
            return self._samples[speaker]

    def code_file(self, recording: Recording, speaker: str) -> bytes:
        """The bytes of a .svq file, which names the speaker to decode it with."""
        return pack(replace(recording.encoded, speaker=speaker), self._coder)

    def spectrogram(self, wav: Tensor) -> bytes:
        """Log-mel levels (bands, F), a byte each: 0 for 70 dB below the loudest, 255 for the loudest."""
        level = self._log_mel(wav) * (20 / np.log(10))
        scaled = (level - level.max() + RANGE_DB).clamp(min=0) * (255 / RANGE_DB)
        data: bytes = scaled.round().to(torch.uint8).numpy().tobytes()
        return data

    def _converts_live(self) -> bool:
        try:
            self.codec.streamer(self.codec.speakers[0])
        except SpeechVQError:
            return False
        return True

    def _not_too_long(self, path: Path) -> Iterator[Tensor]:
        samples = 0
        for piece in read_pieces(path):
            samples += len(piece)
            if samples > MAX_SECONDS * self.codec.sample_rate:
                reason = f"longer than {MAX_SECONDS} s; cut it, or use `speechvq convert`, which takes any length"
                raise SpeechVQError(f"{path} is {reason}")
            yield piece

    def _read_sentence(self, path: Path) -> Encoded | None:
        """The codes of the sample sentence; None if there is none, or it is of another model."""
        try:
            return self._files.read(path) if path.is_file() else None
        except SpeechVQError:
            return None

    def _voice(self, name: str) -> dict[str, Any]:
        info = self.codec.card.speaker_info.get(name, {})
        good = known(info) in ("well", "")  # as `speechvq info` has it
        return {"name": name, "sex": info.get("sex", ""), "accent": info.get("accent", ""), "good": good}

    def _minutes(self, name: str) -> float | None:
        """Minutes of a speaker's speech in training; None if that is not known."""
        try:
            return float(self.codec.card.speaker_info.get(name, {})["minutes"])
        except (KeyError, ValueError):
            return None

    def _candidates(self) -> list[str]:
        """The voices that are compared with a recording: those with the most speech in training."""
        return sorted(self._well_known(), key=lambda name: -(self._minutes(name) or 0))[:NEAREST_OF]

    def _well_known(self) -> list[str]:
        names = [name for name in self.codec.speakers if self._voice(name)["good"]]
        return names or [*self.codec.speakers]

    def _decode(self, encoded: Encoded, speaker: str) -> Tensor:
        return self.codec.decode(encoded.codes, speaker)[: encoded.samples]

    def _bits(self, codes: Tensor) -> np.ndarray:
        """The bits (N,) that the coder spends on each code."""
        if isinstance(self._coder, Static):
            each: np.ndarray = np.log2(self._coder.weights.sum() / self._coder.weights)[codes.numpy()]
            return each
        return np.full(len(codes), float((self.codec.alphabet.codes - 1).bit_length()))

    def _nearest(self, wav: Tensor, spoken: dict[str, Tensor]) -> str:
        """The voice whose log-mel frames are nearest to those of a wav, at the same loudness."""
        own = self._log_mel(normalize_loudness(wav))
        return min(spoken, key=lambda name: float((self._log_mel(normalize_loudness(spoken[name])) - own).abs().mean()))

    def _log_mel(self, wav: Tensor) -> Tensor:
        """(bands, F) of a wav, F = ceil(T / hop)."""
        frames: Tensor = self._mel(torch.nn.functional.pad(wav, (0, -len(wav) % self._mel.hop))[None])[0]
        return frames


def wav_bytes(wav: Tensor) -> bytes:
    """A 16-bit .wav file."""
    stream = io.BytesIO()
    soundfile.write(stream, wav.clamp(-1, 1).numpy(), Codec.sample_rate, "PCM_16", format="WAV")
    return stream.getvalue()
