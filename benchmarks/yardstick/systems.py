"""The systems that speech is sent through: none, Codec2, Opus, and models of speechvq."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, resample, write
from speechvq.codec import Codec, Encoded
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.folder.card import load_card, model_folder, speaker_index
from speechvq.folder.weights import fingerprint

CODEC2_RATE = 8000  # Hz
CODEC2_MODES = ("3200", "1200", "700C", "450")
OPUS_KBITS = 6


class Unavailable(Exception):
    """A system cannot be measured here; the message says why."""


class System(Protocol):
    """What speech is sent through.

    name: the row of the table
    version: names what else its results depend on
    voice: the speaker whose voice it gives; '' if it keeps that of the input
    """

    name: str
    version: str
    voice: str

    def send(self, wav: Tensor, *, prepared: bool) -> Tensor:
        """wav (T,) at 16 kHz -> what comes out, (T,) at 16 kHz.

        prepared: whether the wav is as in the prepared corpus, which has been through its high-pass
        """
        ...

    def bits(self, wav: Tensor) -> int | None:
        """The size in bits of a file of a prepared wav (T,), with its header; None if there is no such file."""
        ...


class Natural:
    """The recording itself."""

    name, version, voice = "natural", "", ""

    def send(self, wav: Tensor, *, prepared: bool) -> Tensor:
        """The wav itself."""
        return wav

    def bits(self, wav: Tensor) -> int | None:
        """None."""
        return None


class Codec2:
    """Codec2 by c2enc and c2dec, at 8 kHz. A file's frames are filled up to whole bytes: 700C takes 800 bit/s."""

    version, voice = "", ""

    def __init__(self, mode: str) -> None:
        self.name, self.mode = f"codec2-{mode}", mode
        _require(("c2enc", "c2dec"), "codec2")

    def send(self, wav: Tensor, *, prepared: bool) -> Tensor:
        """Encode and decode."""
        with tempfile.TemporaryDirectory() as folder:
            coded, decoded = self._encode(wav, Path(folder)), Path(folder) / "decoded.raw"
            _run("c2dec", self.mode, coded, decoded)
            samples = torch.from_numpy(np.fromfile(decoded, "<i2").astype(np.float32) / 32768)
        return _of_length(resample(samples, CODEC2_RATE, SAMPLE_RATE), len(wav))

    def bits(self, wav: Tensor) -> int | None:
        """The size of the .c2 file."""
        with tempfile.TemporaryDirectory() as folder:
            return 8 * self._encode(wav, Path(folder)).stat().st_size

    def _encode(self, wav: Tensor, folder: Path) -> Path:
        raw, coded = folder / "input.raw", folder / "coded.c2"
        samples = resample(wav, SAMPLE_RATE, CODEC2_RATE).numpy() * 32768
        samples.round().clip(-32768, 32767).astype("<i2").tofile(raw)
        _run("c2enc", self.mode, raw, coded)
        return coded


class Opus:
    """Opus by opusenc, in its Ogg container."""

    voice = ""

    def __init__(self, kbits: int) -> None:
        self.name, self.kbits = f"opus-{kbits}", kbits
        _require(("opusenc", "opusdec"), "opus-tools")
        self.version = _run("opusenc", "--version").splitlines()[0]

    def send(self, wav: Tensor, *, prepared: bool) -> Tensor:
        """Encode and decode."""
        with tempfile.TemporaryDirectory() as folder:
            coded, decoded = self._encode(wav, Path(folder)), Path(folder) / "decoded.wav"
            _run("opusdec", "--quiet", "--rate", str(SAMPLE_RATE), coded, decoded)
            return _of_length(read(decoded), len(wav))

    def bits(self, wav: Tensor) -> int | None:
        """The size of the .opus file."""
        with tempfile.TemporaryDirectory() as folder:
            return 8 * self._encode(wav, Path(folder)).stat().st_size

    def _encode(self, wav: Tensor, folder: Path) -> Path:
        write(folder / "input.wav", wav)
        coded = folder / "coded.opus"
        _run("opusenc", "--quiet", "--discard-comments", "--bitrate", str(self.kbits), folder / "input.wav", coded)
        return coded


class Conversion:
    """A model that converts to one of its voices, its files written by the best coder that it has."""

    def __init__(self, name: str, codec: Codec, voice: str, prior: Path | None, high_pass: float) -> None:
        """Take a model.

        name: of the model
        prior: folder of a prior of its codes
        high_pass: cutoff in Hz that the prepared corpus has been through
        Raises SpeechVQError if the model has no such voice.
        """
        speaker_index(codec.speakers, voice)
        files = CodeFiles(codec, prior)
        self.name, self.voice = f"{name} as {voice}", voice
        self.coder, self.penalty = files.coder(), files.penalty
        self.codec, self.prepared = codec, codec.after_high_pass(high_pass)
        self.version = f"{fingerprint(codec.model)} {self.coder.tag.hex()}"

    def send(self, wav: Tensor, *, prepared: bool) -> Tensor:
        """Convert by the codes that are in a file."""
        codec = self.prepared if prepared else self.codec
        codes = codec.encode(wav, SAMPLE_RATE, penalty=self.penalty)
        return codec.decode(codes, self.voice)[: len(wav)]

    def bits(self, wav: Tensor) -> int | None:
        """The size of the .svq file."""
        codes = self.prepared.encode(wav, SAMPLE_RATE, penalty=self.penalty)
        return 8 * len(pack(Encoded(codes, len(wav), self.codec.alphabet), self.coder))


# The systems that are not models, by name.
SYSTEMS: dict[str, Callable[[], System]] = {
    "natural": Natural,
    **{f"codec2-{mode}": partial(Codec2, mode) for mode in CODEC2_MODES},
    f"opus-{OPUS_KBITS}": partial(Opus, OPUS_KBITS),
}


def conversions(
    codecs: dict[str, Codec], voices: Sequence[str], priors: Sequence[Path], high_pass: float
) -> list[Conversion]:
    """Every model with each of the voices, or with its first voice where none is named.

    codecs: by name
    priors: folders or names, each used for the model whose codes it predicts
    high_pass: cutoff in Hz that the prepared corpus has been through

    Raises SpeechVQError if a model has none of the voices, or a prior is of no model's codes.
    """
    alphabets = {path: load_card(path, "prior").alphabet for path in map(model_folder, priors)}
    for path, alphabet in alphabets.items():
        if alphabet not in [codec.alphabet for codec in codecs.values()]:
            raise SpeechVQError(f"{path}: a prior of the codes of none of these models")
    result = []
    for name, codec in codecs.items():
        prior = next((path for path, alphabet in alphabets.items() if alphabet == codec.alphabet), None)
        own = [voice for voice in voices if voice in codec.speakers] or list(voices or codec.speakers)[:1]
        result += [Conversion(name, codec, voice, prior, high_pass) for voice in own]
    return result


def _require(tools: Sequence[str], package: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"{missing[0]} is not installed (Debian package {package})")


def _run(tool: str, *arguments: str | Path) -> str:
    done = subprocess.run([tool, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{tool} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _of_length(wav: Tensor, samples: int) -> Tensor:
    """Cut, or filled up with zeros."""
    return torch.nn.functional.pad(wav[:samples], (0, max(samples - len(wav), 0)))
